import { LauncherBuildError } from './errors.ts'
import { BLOB_NAME, FUSE } from './sea-blob.ts'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Puts the blob into a Linux Node executable as an ELF note.
 *
 * @returns The bytes of the executable, the same for the same input.
 */
export async function makeLinuxExecutable(node: Uint8Array, blob: Uint8Array): Promise<Uint8Array> {
  const { inject } = await import('postject')
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-elf-'))
  try {
    const file = join(folder, 'node')
    await writeFile(file, node, { mode: 0o700 })
    await inject(file, BLOB_NAME, Buffer.from(blob), { sentinelFuse: FUSE })
    return await readFile(file)
  } catch (cause) {
    throw new LauncherBuildError('LB_INSTALLER', 'The application could not be put into the Linux executable', {
      cause,
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
