import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isMissing } from '@keyturn/primitives/node'
import type { PlayerConfig } from '../player-config.ts'
import { LauncherBuildError } from './errors.ts'
import { setupScript } from './setup-script.ts'

const run = promisify(execFile)

/** What a setup is made of. */
export interface SetupParts {
  readonly config: PlayerConfig
  /** The finished, signed executable. */
  readonly executable: Uint8Array
  /** Name the executable is installed under. */
  readonly fileName: string
  readonly icon: Uint8Array
}

/**
 * Makes a Windows setup with NSIS: per user, without elevation.
 *
 * @returns Its bytes, unsigned; the same for the same input and NSIS version.
 * @throws LauncherBuildError `LB_NO_NSIS` without `makensis`, `LB_INSTALLER` with what it printed.
 */
export async function makeWindowsSetup({ config, executable, fileName, icon }: SetupParts): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-setup-'))
  try {
    await writeFile(join(folder, 'player.exe'), executable)
    await writeFile(join(folder, 'player.ico'), icon)
    // The byte order mark tells NSIS that the script is UTF-8.
    await writeFile(join(folder, 'setup.nsi'), `\ufeff${setupScript(config, fileName, executable.length)}`)
    await run('makensis', ['-V2', '-WX', '-NOCD', 'setup.nsi'], {
      cwd: folder,
      env: { ...process.env, SOURCE_DATE_EPOCH: '0' },
    })
    return await readFile(join(folder, 'made.exe'))
  } catch (cause) {
    if (isMissing(cause))
      throw new LauncherBuildError('LB_NO_NSIS', 'Cannot make a setup: makensis is not on the PATH', {
        hint: 'Install NSIS 3 (Debian: apt install nsis), or pass --no-installer',
        cause,
      })
    const printed = (cause as { stdout?: string }).stdout ?? ''
    throw new LauncherBuildError('LB_INSTALLER', `Cannot make a setup: ${printed.trim().slice(-2000)}`, { cause })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
