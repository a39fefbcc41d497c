import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { LauncherBuildError } from './errors.ts'

/** A package whose code is in the bundle. */
export interface BundledPackage {
  readonly name: string
  readonly version: string
  readonly license: string
}

/** The launcher's code as this package ships it, made once at its own build. */
export interface PlayerBundle {
  readonly bytes: Uint8Array
  readonly sha256: string
  /** The script that Node runs first; it picks the newest bundle that may run. */
  readonly loader: Uint8Array
  readonly packages: readonly BundledPackage[]
}

interface BundleRecord {
  readonly bundle: string
  readonly loader: string
  readonly packages: readonly BundledPackage[]
}

/** `dist/player/`, seen from `dist/build/` as well as from `src/build/` of a checkout. */
const FOLDER = new URL('../../dist/player/', import.meta.url)

/**
 * Reads the bundle that ships with this package and compares it with its recorded hashes.
 *
 * @param folder - Where it is; default this package's own.
 * @throws LauncherBuildError `LB_BUNDLE`.
 */
export async function readPlayerBundle(folder: URL = FOLDER): Promise<PlayerBundle> {
  const read = async (name: string): Promise<Uint8Array> =>
    await readFile(new URL(name, folder)).catch((cause: unknown) => {
      throw new LauncherBuildError('LB_BUNDLE', `Cannot read ${name} of the launcher bundle`, { cause })
    })
  const [bytes, loader, record] = [await read('player.cjs'), await read('loader.cjs'), await read('player.json')]
  const expected = JSON.parse(Buffer.from(record).toString('utf8')) as BundleRecord
  const sha256 = hash(bytes)
  if (sha256 !== expected.bundle || hash(loader) !== expected.loader)
    throw new LauncherBuildError('LB_BUNDLE', 'The launcher bundle is not the one this package was built with')
  return { bytes, sha256, loader, packages: expected.packages }
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
