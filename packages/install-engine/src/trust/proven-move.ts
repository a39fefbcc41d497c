import { join } from 'node:path'
import {
  limits,
  ManifestError,
  parseManifest,
  parseTrustRoot,
  rebuildTrustState,
  verifyLegacySignature,
} from '@keyturn/manifest'
import type { AcceptedRelease, KelRoot, PinnedKeysRoot, TrustState } from '@keyturn/manifest'
import { listFolder, readSmallFile, writeSmallFile } from '../disk/disk.ts'
import type { FileSystem } from '@keyturn/primitives/node'
import type { Layout } from '../disk/layout.ts'

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

/**
 * Keeps the manifest that led from pinned keys to an identity, with its signature: without it the move is not believed.
 */
export async function keepMove(
  fs: FileSystem,
  layout: Layout,
  { manifestBytes }: AcceptedRelease,
  signature: Uint8Array,
): Promise<void> {
  const { manifest, signature: signatureFile } = bridgeFiles(layout)
  await writeSmallFile(fs, signatureFile, signature)
  await writeSmallFile(fs, manifest, manifestBytes)
}

/**
 * Proves from the kept manifest that an install of these pinned keys moved to an identity. Whether the time of a key
 * ended since does not matter: the move was made before. Where the kept copy is lost or damaged, the manifests of
 * accepted releases are asked: the one that led to the identity is among them until a newer one takes its place.
 *
 * @returns `undefined` when nothing is kept, or what is kept proves nothing.
 */
export async function proveMove(
  fs: FileSystem,
  layout: Layout,
  pinned: PinnedKeysRoot,
): Promise<ProvenMove | undefined> {
  const kept = await proveBy(fs, bridgeFiles(layout), pinned)
  if (kept !== undefined) return kept
  for (const signature of await keptSignatures(fs, layout)) {
    const proven = await proveBy(fs, { manifest: signature.slice(0, -'.sig'.length), signature }, pinned)
    if (proven !== undefined) return proven
  }
  return undefined
}

/** Detached signatures of the accepted manifests, of every channel. */
async function keptSignatures(fs: FileSystem, layout: Layout): Promise<string[]> {
  const found: string[] = []
  for (const name of await listFolder(fs, layout.manifests)) {
    const place = join(layout.manifests, name)
    if (name.endsWith('.json.sig')) found.push(place)
    else if (!name.includes('.')) for (const file of await listFolder(fs, place)) found.push(join(place, file))
  }
  return found.filter((path) => path.endsWith('.json.sig'))
}

async function proveBy(
  fs: FileSystem,
  files: { manifest: string; signature: string },
  pinned: PinnedKeysRoot,
): Promise<ProvenMove | undefined> {
  // What cannot be read proves nothing.
  const manifest = await readSmallFile(fs, files.manifest, limits.manifestBytes).catch(() => undefined)
  const legacySignature = await readSmallFile(fs, files.signature, limits.legacySignatureBytes).catch(() => undefined)
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
