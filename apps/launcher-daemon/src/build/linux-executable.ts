import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { LauncherBuildError } from './errors.ts'
import { BLOB_NAME, FUSE } from './sea-blob.ts'
import { stripElf } from './strip-elf.ts'

const run = promisify(execFile)

/** postject's own program; its library prints on this process's streams. */
const POSTJECT = join(dirname(createRequire(import.meta.url).resolve('postject')), 'cli.js')

/**
 * Puts the blob into a Linux Node executable as an ELF note, without its symbols for debuggers.
 *
 * @returns The bytes of the executable, the same for the same input.
 * @throws LauncherBuildError `LB_INSTALLER`.
 */
export async function makeLinuxExecutable(node: Uint8Array, blob: Uint8Array): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-elf-'))
  try {
    const [executable, part] = [join(folder, 'node'), join(folder, 'blob')]
    await writeFile(executable, stripElf(node), { mode: 0o700 })
    await writeFile(part, blob)
    await run(process.execPath, [POSTJECT, executable, BLOB_NAME, part, '--sentinel-fuse', FUSE])
    return await readFile(executable)
  } catch (cause) {
    throw new LauncherBuildError('LB_INSTALLER', 'The application could not be put into the Linux executable', {
      cause,
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
