import { join } from 'node:path'
import {
  type AcceptedRelease, type KelRoot, limits, ManifestError, parseManifest, parseTrustRoot, type PinnedKeysRoot, rebuildTrustState, type TrustState,
  verifyLegacySignature,
} from '@keyturn/manifest'
import { readSmallFile, writeSmallFile } from './disk.ts'
import type { FileSystem } from '@keyturn/primitives/node'
import type { Layout } from './layout.ts'

/** The move of an install from pinned keys to an identity, with what it was proven by. */
export interface ProvenMove {
  readonly root: KelRoot
  /** Epoch that the manifest began with. */
  readonly epoch: number | undefined
  /** Floors that the manifest proves. */
  readonly floors: TrustState
}

function bridgeFiles(layout: Layout): { manifest: string; signature: string } {
  return { manifest: join(layout.trust, 'bridge.json'), signature: join(layout.trust, 'bridge.json.sig') }
}

/** Keeps the manifest that led from pinned keys to an identity, with its signature: without it the move is not believed. */
export async function keepMove(fs: FileSystem, layout: Layout, { manifestBytes }: AcceptedRelease, signature: Uint8Array): Promise<void> {
  const { manifest, signature: signatureFile } = bridgeFiles(layout)
  await writeSmallFile(fs, signatureFile, signature)
  await writeSmallFile(fs, manifest, manifestBytes)
}

/**
 * Proves from the kept manifest that an install of these pinned keys moved to an identity. Whether the time of a key
 * ended since does not matter: the move was made before.
 *
 * @returns `undefined` when nothing is kept, or what is kept proves nothing.
 */
export async function proveMove(fs: FileSystem, layout: Layout, pinned: PinnedKeysRoot): Promise<ProvenMove | undefined> {
  const files = bridgeFiles(layout)
  const manifest = await readSmallFile(fs, files.manifest, limits.manifestBytes)
  const legacySignature = await readSmallFile(fs, files.signature, limits.legacySignatureBytes)
  if (manifest === undefined || legacySignature === undefined) return undefined
  try {
    verifyLegacySignature(manifest, legacySignature, pinned, 0)
    const { trustRoot, epoch } = parseManifest(manifest)
    const root = trustRoot === undefined ? undefined : parseTrustRoot(trustRoot)
    if (root?.kind !== 'kel') return undefined
    return { root, epoch, floors: rebuildTrustState(pinned, { manifests: [{ manifest, legacySignature }] }) }
  } catch (error) {
    if (error instanceof ManifestError) return undefined
    throw error
  }
}
