import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { LauncherBuildError } from './errors.ts'

const run = promisify(execFile)

/** Name of the resource or note that Node looks for in its own executable. */
export const BLOB_NAME = 'NODE_SEA_BLOB'

/** Text in every Node executable; the byte after the colon that follows it says whether a blob is inside. */
export const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'

/** What goes into the executable beside Node. */
export interface BlobParts {
  /** The script that Node runs first. */
  readonly loader: Uint8Array
  /** Name to bytes; read by `sea.getAsset`. */
  readonly assets: ReadonlyMap<string, Uint8Array>
}

/**
 * Makes the blob of a single executable application. It holds no compiled code, so a blob made on one system runs on
 * every other with the same Node version.
 *
 * @param node - A Node executable of that version that runs on this machine.
 * @param folder - Scratch folder; the caller removes it.
 * @throws LauncherBuildError `LB_INSTALLER` with what Node printed.
 */
export async function makeBlob(node: string, folder: string, parts: BlobParts): Promise<Uint8Array> {
  await mkdir(folder, { recursive: true })
  const assets: Record<string, string> = {}
  for (const [index, [name, bytes]] of [...parts.assets].entries()) {
    const file = `asset-${index}`
    await writeFile(join(folder, file), bytes)
    assets[name] = file
  }
  await writeFile(join(folder, 'loader.cjs'), parts.loader)
  const config = {
    main: 'loader.cjs',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false,
    // NODE_OPTIONS must not be able to load code into the launcher.
    execArgvExtension: 'none',
    assets,
  }
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  try {
    await run(node, ['--experimental-sea-config', 'config.json'], { cwd: folder, env: {} })
    return await readFile(join(folder, 'blob'))
  } catch (cause) {
    throw new LauncherBuildError('LB_INSTALLER', 'Node could not make the application blob', { cause })
  }
}
