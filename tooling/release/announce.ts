import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root, trackedFiles } from '../checks/workspace.ts'
import { installedNames, recordOnNpm, withoutNotYet } from './not-yet.ts'

/** Says whether the registry has a version of a package, such as `@keyturn/kel@0.1.0`. */
export type Lookup = (spec: string) => boolean

/** Asks the registry that npm is set up for. */
export const onRegistry: Lookup = (spec) => {
  const { status, stdout } = spawnSync('npm', ['view', spec, 'version'], { cwd: '/', encoding: 'utf8' })
  return status === 0 && stdout.trim() !== ''
}

/**
 * The document without its note, if everything that it says to install is on npm.
 *
 * Its other notes, of what else is not there yet, go with it: they depend on the same packages.
 */
export function announced(text: string, onNpm: ReadonlySet<string>): string {
  return installedNames(text).every((name) => onNpm.has(name)) ? withoutNotYet(text) : text
}

/**
 * Takes the note "not on npm yet" out of the documents, once the registry has every package in the version of this
 * checkout.
 *
 * Anyone who owns a name that a document says to install can run code on the reader's machine. So nothing is written
 * before the registry was asked for all of them.
 * @returns the documents that changed, as paths from the root.
 * @throws Error that names the packages which are not there.
 */
export function announce(lookup: Lookup = onRegistry): string[] {
  const published = members().filter(({ manifest }) => manifest.private !== true)
  const missing = published
    .map(({ manifest: { name, version } }) => `${name}@${version}`)
    .filter((spec) => !lookup(spec))
  if (missing.length > 0) throw new Error(`Cannot announce: the registry does not have ${missing.join(', ')}`)
  const names = published.map(({ manifest }) => manifest.name)
  recordOnNpm(names)
  const onNpm = new Set(names)
  return trackedFiles()
    .filter((file) => file.endsWith('.md') && !file.startsWith('.changeset/'))
    .filter((file) => {
      const text = readFileSync(join(root, file), 'utf8')
      const changed = announced(text, onNpm)
      if (changed !== text) writeFileSync(join(root, file), changed)
      return changed !== text
    })
}
