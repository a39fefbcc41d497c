import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../../../shared/vectors/', import.meta.url))

/** Whether the folder of published third-party vectors is there; says so when it is not. */
export const haveVectors: boolean = existsSync(folder)
if (!haveVectors) console.info('skipped: the folder of published vectors is not beside this checkout')

/** Path of one vector file or folder. */
export function vectorPath(name: string): string {
  return folder + name
}
