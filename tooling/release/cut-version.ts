import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import { firstChangelog } from './first-changelog.ts'
import { writeVersionPlaces } from './version-places.ts'

/**
 * Turns the changesets of this checkout into versions and changelogs, and writes the versions where documents name
 * them.
 *
 * A package that had no release so far gets a changelog that says what it is. READMEs go on saying that it is not on
 * npm: that stays true until the upload, and `--announce` takes it out after that.
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
    const readme = readFileSync(join(path, 'README.md'), 'utf8')
    writeFileSync(join(path, 'CHANGELOG.md'), firstChangelog(manifest.name, manifest.version, readme))
  }
  writeVersionPlaces()
  return cut.map(({ manifest: { name, version } }) => ({ name, version }))
}
