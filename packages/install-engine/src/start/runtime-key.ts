import type { ManifestFile, ReleaseFormat, ReleaseManifest } from '@keyturn/manifest'
import { sha256Hex, wipe } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { assertListed, MAX_RUNTIME_KEY_JSON_BYTES, parseRuntimeKeyJson, RuntimeKeyError } from '@keyturn/runtime-key'
import type { RuntimeKey } from '@keyturn/runtime-key'
import { LauncherError } from '../errors.ts'
import { readSmallFile, placeInside } from '../disk/disk.ts'
import type { Layout } from '../disk/layout.ts'

/** Where a runtime key may come from besides its file: over Noise, or sealed from an earlier start. */
export interface RuntimeKeyProvider {
  /** The key for a release; it is checked against the manifest by the caller. */
  obtain(manifest: ReleaseManifest, manifestSha256: string, signal: AbortSignal | undefined): Promise<RuntimeKey>
}

/**
 * Loads the runtime key of an installed release: its sidecar file when the release has one, else from the provider.
 * Either way it must be the one the signed manifest lists; there is no fallback.
 *
 * @returns `undefined` when the format needs no key. The caller disposes of the key.
 * @throws RuntimeKeyError, LauncherError `LA_HASH` when the file is not the listed one.
 */
export async function loadRuntimeKey(
  fs: FileSystem,
  layout: Layout,
  release: { readonly manifest: ReleaseManifest; readonly manifestSha256: string; readonly format: ReleaseFormat },
  { provider, signal }: { provider: RuntimeKeyProvider | undefined; signal?: AbortSignal | undefined },
): Promise<RuntimeKey | undefined> {
  const { manifest, format } = release
  if (format.runtimeKey === 'none') return undefined
  const file = manifest.files.find(({ path }) => path === format.runtimeKeyPath)
  const key = file === undefined ? await obtain(release, provider, signal) : await fromFile(fs, layout, file)
  try {
    // Schema 1 lists no content keys; there the signed hash of the file is all there is.
    if (manifest.schema === 2 || manifest.contentKeys.length > 0) assertListed(key, manifest.contentKeys)
    return key
  } catch (error) {
    key.dispose()
    throw error
  }
}

async function obtain(
  release: { readonly manifest: ReleaseManifest; readonly manifestSha256: string },
  provider: RuntimeKeyProvider | undefined,
  signal: AbortSignal | undefined,
): Promise<RuntimeKey> {
  if (provider === undefined)
    throw new RuntimeKeyError('RK_MISSING', 'Cannot start: the release ships no runtime key and no key server is known')
  return await provider.obtain(release.manifest, release.manifestSha256, signal)
}

async function fromFile(fs: FileSystem, layout: Layout, file: ManifestFile): Promise<RuntimeKey> {
  const bytes = await readSmallFile(fs, placeInside(layout.root, file.path), MAX_RUNTIME_KEY_JSON_BYTES)
  if (bytes === undefined)
    throw new RuntimeKeyError('RK_MISSING', `Cannot start: "${file.path}" is missing`, { hint: 'Run repair' })
  try {
    if (sha256Hex(bytes) !== file.sha256) {
      throw new LauncherError('LA_HASH', `Cannot start: "${file.path}" is not the file the manifest names`, {
        hint: 'Run repair',
        details: { path: file.path },
      })
    }
    return parseRuntimeKeyJson(bytes)
  } finally {
    wipe(bytes)
  }
}
