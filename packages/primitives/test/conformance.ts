import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Folder of published third-party vectors beside the checkout. */
const folder = fileURLToPath(new URL('../../../../shared/vectors/', import.meta.url))

/** Whether the folder of vectors is there; says so when it is not. */
export const haveVectors: boolean = existsSync(folder)
if (!haveVectors) console.info('skipped: the folder of published vectors is not beside this checkout')

/** Path of one vector file or folder; a missing one fails the test that reads it. */
export function vectorPath(name: string): string {
  return folder + name
}

/** The text of one vector file. */
export function vectorText(name: string): string {
  return readFileSync(vectorPath(name), 'utf8')
}

/** One group of a Wycheproof file. */
export interface WycheproofGroup<Test> {
  readonly publicKey?: { readonly pk: string }
  readonly tests: readonly Test[]
}

/** The groups of one Wycheproof file. */
export function wycheproof<Test>(name: string): readonly WycheproofGroup<Test>[] {
  const file = JSON.parse(vectorText(`wycheproof/${name}_test.json`)) as { testGroups: WycheproofGroup<Test>[] }
  return file.testGroups
}
