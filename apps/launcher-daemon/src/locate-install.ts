import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * Finds the install: `METIN2_INSTALL_DIR`; else, for a program in a folder `launcher` with a sibling
 * `client`, that sibling.
 *
 * @param programFolder - Where the launcher itself is.
 * @returns `undefined` when neither holds.
 */
export function locateInstall(
  env: Readonly<Record<string, string | undefined>>,
  programFolder: string,
): string | undefined {
  const named = env['METIN2_INSTALL_DIR']
  if (named !== undefined && named !== '') return named
  const sibling = join(dirname(programFolder), 'client')
  return basename(programFolder) === 'launcher' && existsSync(sibling) ? sibling : undefined
}
