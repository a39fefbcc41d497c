import { createHash } from 'node:crypto'
import { formatOf, limits, ManifestError, verifyInstalled } from '@keyturn/manifest'
import type { ReleaseFormat, ReleaseManifest, RoleDocument, TrustState } from '@keyturn/manifest'
import type { KeyturnError } from '@keyturn/primitives'
import { readSmallFile } from '../disk/disk.ts'
import type { Session } from '../session.ts'
import { keptFiles } from '../disk/kept-manifest.ts'
import type { KeptFiles } from '../disk/kept-manifest.ts'
import type { ReleaseRef } from '../disk/state-file.ts'

/** The installed release, verified again from what is stored. */
export interface InstalledRelease {
  readonly ref: ReleaseRef
  readonly manifest: ReleaseManifest
  readonly manifestSha256: string
  readonly format: ReleaseFormat
  /** `undefined` under pinned keys. */
  readonly roles: RoleDocument | undefined
  /** The newest stored role document that the stored log seals. */
  readonly newestRoles: RoleDocument | undefined
}

/** Whether the installed release may be played. */
export type InstalledVerdict =
  | { readonly playable: true; readonly release: InstalledRelease }
  | { readonly playable: false; readonly error: KeyturnError }

/**
 * Verifies the installed release without the network: its signatures under the role document it was accepted under,
 * less what was revoked since. Nothing of `state.json` is believed but which document that was.
 */
export async function verifyInstalledRelease(
  session: Session,
  ref: ReleaseRef,
  state: TrustState,
): Promise<InstalledVerdict> {
  const { manifest, manifestSigs, manifestSig } = session.layout
  return await verifyKept(session, ref, state, { manifest, signatures: manifestSigs, legacySignature: manifestSig })
}

/**
 * Verifies the release that a low-space update was on its way to, from what was kept when it was accepted: with the
 * install a mixture, a halted rollout or an expired head is no reason to leave it one.
 */
export async function verifyUnfinished(
  session: Session,
  ref: ReleaseRef,
  state: TrustState,
): Promise<InstalledVerdict> {
  const kept = await keptFiles(session.options.fs, session.layout, ref)
  const verified = await verifyKept(session, ref, state, kept)
  if (!verified.playable || verified.release.manifestSha256 === ref.manifestSha256) return verified
  return {
    playable: false,
    error: new ManifestError('MAN_MISSING', 'Cannot go on: the manifest of the unfinished update is gone', {
      hint: 'Update while the server can be reached',
    }),
  }
}

async function verifyKept(
  session: Session,
  ref: ReleaseRef,
  state: TrustState,
  files: KeptFiles,
): Promise<InstalledVerdict> {
  const { fs, channel } = session.options
  const { trust } = session
  const manifest = await readSmallFile(fs, files.manifest, limits.manifestBytes)
  if (manifest === undefined) return { playable: false, error: manifestGone() }
  const [signatures, legacySignature, log, roles, all] = [
    await readSmallFile(fs, files.signatures, limits.signaturesBytes),
    await readSmallFile(fs, files.legacySignature, limits.legacySignatureBytes),
    await trust.log(),
    await trust.role(ref.rolesVersion),
    await trust.roles(),
  ]
  const missing = await trust.missingRoles(state)
  if (missing !== undefined) return { playable: false, error: rolesGone(missing) }
  const decision = verifyInstalled(
    {
      manifest,
      newestContentKeys: await trust.newestContentKeys(state, channel),
      ...(signatures === undefined ? {} : { signatures }),
      ...(legacySignature === undefined ? {} : { legacySignature }),
      ...(log === undefined ? {} : { log }),
      ...(roles === undefined ? {} : { roles }),
      newestRoles: all.map(({ bytes }) => bytes),
    },
    state,
  )
  if (!decision.playable) return decision
  const manifestSha256 = createHash('sha256').update(manifest).digest('hex')
  return {
    playable: true,
    release: {
      ref: { ...ref, manifestSha256 },
      manifest: decision.manifest,
      manifestSha256,
      format: formatOf(decision.manifest),
      roles: decision.roles,
      newestRoles: decision.newestRoles,
    },
  }
}

function manifestGone(): ManifestError {
  return new ManifestError('MAN_MISSING', 'Cannot start: the installed manifest is gone', {
    hint: 'Update, so that it is fetched again',
  })
}

function rolesGone(version: number): ManifestError {
  return new ManifestError(
    'TRUST_LOST',
    `Cannot start: role document ${version}, which the stored log seals, is gone or damaged, and with it the list ` +
      'of revoked keys',
    { details: { version }, hint: 'Update once while the server can be reached' },
  )
}
