import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A paragraph that is true only before a package is on npm. */
const NOT_YET = /^Not on npm yet: [^\n]*(?:\n[^\n]+)*\n\n?/gm
const INSTALL = /\bnpm (?:install|i|exec)\b[^\n]*@keyturn\/[^\n]*|\bnpx [^\n]*@keyturn\/[^\n]*/g
const RECORD = fileURLToPath(new URL('on-npm.json', import.meta.url))

/** Takes the note "Not on npm yet" out of a text. */
export function withoutNotYet(text: string): string {
  return text.replace(NOT_YET, '')
}

/** Whether a text says that a package is not on npm yet. */
export function saysNotYet(text: string): boolean {
  return /not on npm yet/i.test(text)
}

/** The packages that a text says to install. */
export function installedNames(text: string): string[] {
  const names = [...text.matchAll(INSTALL)].flatMap(([line]) => line.match(/@keyturn\/[a-z0-9-]+/g) ?? [])
  return [...new Set(names)]
}

/** The packages that were found on npm after an upload; `--announce` writes this list. */
export function readOnNpm(): ReadonlySet<string> {
  return new Set(JSON.parse(readFileSync(RECORD, 'utf8')) as string[])
}

/** Adds packages to the list of those that are on npm. */
export function recordOnNpm(names: readonly string[]): void {
  const all = [...new Set([...readOnNpm(), ...names])].sort()
  writeFileSync(RECORD, `${JSON.stringify(all, null, 2)}\n`)
}
