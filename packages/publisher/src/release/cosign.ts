import { parseManifest, parseSignatures, verifyManifestSignatures } from '@keyturn/manifest'
import { signManifest } from '@keyturn/manifest/publish'
import { sha256Hex, hexDecode, printable } from '@keyturn/primitives'
import type { ReleaseManifest } from '@keyturn/manifest'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { join } from 'node:path'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { releaseFiles, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { hashFile, listTree } from '../tree/tree.ts'

/** A release that somebody else prepared, before it is signed here. */
export interface ForeignRelease {
  readonly manifest: ReleaseManifest
  /** SHA-256 of its literal bytes. */
  readonly sha256: string
  /** Keys that signed already, hex; each signature was verified. */
  readonly signedBy: readonly string[]
}

/**
 * Reads a release that another home prepared. Each signature that is there has to fit.
 *
 * @param bytes - Literal bytes of `manifest.json`.
 * @param signatures - Literal bytes of `manifest.sigs.json`; undefined when nobody signed yet.
 * @param product - The product of this home: another one is refused.
 * @throws {@link PublisherError} `REL_COSIGN_OTHER`; `MAN_` codes.
 */
export function readForeignRelease(
  bytes: Uint8Array,
  signatures: Uint8Array | undefined,
  product: string,
): ForeignRelease {
  const manifest = parseManifest(bytes)
  if (manifest.product !== product)
    throw new PublisherError(
      'REL_COSIGN_OTHER',
      `The manifest is of product "${printable(manifest.product ?? '(none)', 80)}", this home is of "${product}"`,
    )
  const signedBy = signatures === undefined ? [] : parseSignatures(signatures).signatures.map(({ keyid }) => keyid)
  for (const key of signedBy)
    verifyManifestSignatures(bytes, signatures as Uint8Array, { keys: [key], threshold: 1, revokedKeys: [] })
  return { manifest, sha256: sha256Hex(bytes), signedBy }
}

/**
 * Compares a folder with a manifest: every file is there with its hash, and no other.
 *
 * @throws {@link PublisherError} `REL_COSIGN_OTHER` naming the first that differs.
 */
export async function compareTree(
  tree: string,
  { files, launcher }: ReleaseManifest,
  signal: AbortSignal,
): Promise<void> {
  const refuse = (what: string): never => {
    throw new PublisherError('REL_COSIGN_OTHER', `"${tree}" is not what the manifest describes: ${what}`)
  }
  const listed = new Map((await listTree(tree)).map((file) => [file.path, file]))
  for (const { path, sha256, size } of [...files, ...(launcher === undefined ? [] : [launcher])]) {
    const file = listed.get(path)
    listed.delete(path)
    if (file === undefined) return refuse(`"${printable(path, 120)}" is missing`)
    if (file.size !== size || (await hashFile(file, signal)) !== sha256) refuse(`"${printable(path, 120)}" differs`)
  }
  const [more] = listed.keys()
  if (more !== undefined) refuse(`"${printable(more, 120)}" is not in it`)
}

/**
 * Signs a release that another home prepared; signatures that are there stay.
 *
 * @param home - Open home; asks for the passphrase.
 * @param alias - Key that signs; default: the release key of this home.
 * @returns Literal bytes of the new `manifest.sigs.json`, and the key that signed, hex.
 */
export async function cosign(
  home: HomeSession,
  { bytes, signatures }: { readonly bytes: Uint8Array; readonly signatures: Uint8Array | undefined },
  alias: string = home.description.aliases.release,
): Promise<{ readonly signatures: Uint8Array; readonly key: string }> {
  const signer = await (await home.keys()).documentSigner(alias)
  const key = Buffer.from(signer.publicKey).toString('hex')
  return { signatures: await signManifest(bytes, [signer], signatures), key }
}

/**
 * Takes the signatures of others among those of a release of this home. Only keys that the role document in force lists
 * count, and each signature has to fit.
 *
 * @param home - Open home, locked.
 * @param release - Of this home.
 * @param envelope - Literal bytes of the `manifest.sigs.json` that came back.
 * @throws {@link PublisherError} `REL_COSIGN_OTHER` when none of them counts; `MAN_` codes of one that does not fit.
 */
export async function addSignatures(
  home: HomeSession,
  release: StoredRelease,
  envelope: Uint8Array,
): Promise<StoredRelease> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const listed = new Set(document.roles.release.keys)
  const found = parseSignatures(envelope).signatures.filter(({ keyid }) => listed.has(keyid))
  if (found.length === 0)
    throw new PublisherError('REL_COSIGN_OTHER', 'No signature in the file is by a release key in force', {
      hint: 'Compare "keyturn roles show" in both homes',
    })
  for (const { keyid } of found)
    verifyManifestSignatures(release.bytes, envelope, { keys: [keyid], threshold: 1, revokedKeys: [] })
  const others = found.map(({ keyid, signature }) => ({ publicKey: hexDecode(keyid), sign: () => signature }))
  const signatures = await signManifest(release.bytes, others, release.signatures)
  await writeFileAtomic(join(release.folder, releaseFiles.signatures), signatures)
  return { ...release, signatures }
}
