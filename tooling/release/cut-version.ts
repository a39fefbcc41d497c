import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root, trackedFiles } from '../checks/workspace.ts'
import { firstChangelog } from './first-changelog.ts'

/** A paragraph, or a comment beside a command, that is true only before the first release. */
const NOT_YET = /^Not on npm yet: [^\n]*(?:\n[^\n]+)*\n\n?/gm

/** A text without the note that there is no release yet. */
export function withoutNotYet(text: string): string {
  return text.replace(NOT_YET, '')
}

/**
 * Turns the changesets of this checkout into versions and changelogs.
 *
 * A package that had no release so far gets a changelog that says what it is, and its README and the documents stop
 * saying that it is not on npm.
 * @returns name and version of each package that changed.
 */
export function cutVersion(): { readonly name: string; readonly version: string }[] {
  const before = new Map(members().map(({ path, manifest }) => [path, manifest.version]))
  const { status, stdout, stderr } = spawnSync('changeset', ['version'], { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`changeset version failed:\n${stdout}${stderr}`)
  const cut = members().filter(
    ({ path, manifest }) => manifest.private !== true && before.get(path) !== manifest.version,
  )
  if (cut.length === 0) throw new Error('Nothing to release: there are no changesets')
  for (const { path, manifest } of cut) {
    if (before.get(path) !== '0.0.0') continue
    const readme = withoutNotYet(readFileSync(join(path, 'README.md'), 'utf8'))
    writeFileSync(join(path, 'CHANGELOG.md'), firstChangelog(manifest.name, manifest.version, readme))
  }
  for (const file of trackedFiles().filter((name) => name.endsWith('.md') && existsSync(join(root, name)))) {
    const text = readFileSync(join(root, file), 'utf8')
    if (withoutNotYet(text) !== text) writeFileSync(join(root, file), withoutNotYet(text))
  }
  return cut.map(({ manifest: { name, version } }) => ({ name, version }))
}
