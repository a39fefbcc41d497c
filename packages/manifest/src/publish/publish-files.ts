import { formatPin, sha256DigestSeal, verifyLog } from '@keyturn/kel'
import { incept, rotate } from '@keyturn/kel/owner'
import type { Signer } from '@keyturn/kel/owner'
import { concatBytes, hexEncode, requireBytes, requireList, requireMembers, sha256Hex } from '@keyturn/primitives'
import { signHead, signManifest } from '../envelope.ts'
import type { DocumentSigner } from '../envelope.ts'
import { ManifestError } from '../errors.ts'
import { writeHead } from '../head.ts'
import { limits } from '../limits.ts'
import { parseManifest } from '../parse-manifest.ts'
import { writeReleaseBundle } from '../release-bundle.ts'
import { parseRoles, writeRoles } from '../role-document.ts'
import { formatTime } from '../time.ts'
import { writeManifest } from '../write-manifest.ts'
import { buildManifest, manifestPin } from './build-manifest.ts'
import { parsePublication, writePublication } from './publication.ts'
import type { Publication } from './publication.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const DEFAULT_CHANNEL = 'stable'
const ROLES_DAYS = 365

/** The day-to-day keys: two different ones, so that the one that is used daily cannot make a release. */
export interface PublicationKeys {
  /** Signs releases. */
  readonly release: DocumentSigner
  /** Signs, for a limited time, which release is the newest. */
  readonly head: DocumentSigner
}

/** The keys of the identity, which are needed only to begin and to rotate. */
export interface IdentityKeys {
  /** The keys that sign now; when rotating, those that were promised. */
  readonly identity: Signer
  /** Public keys promised for the next rotation, 32 bytes each; their secrets are kept elsewhere. */
  readonly nextIdentity: readonly Uint8Array[]
}

/** One file to publish. */
export interface FileToPublish {
  /** Relative path with forward slashes. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** What {@link publishFiles} needs to know besides files and keys. */
export interface PublishFilesOptions {
  /** Name of the release, free text as `checkVersionName` allows: `1.2.3`. Absent: the last release, for longer. */
  readonly version?: string
  /** How long the offer counts, in days, 1 to 30; default 7. Publish again before it has passed. */
  readonly headDays?: number
  /** Markdown for readers. */
  readonly notes?: string
  /** Default: now, milliseconds since 1970. */
  readonly nowMs?: number
}

/** Options of {@link startPublication}. */
export interface StartPublicationOptions {
  /** Default: `stable`. */
  readonly channel?: string
  /** Default: now, milliseconds since 1970. */
  readonly nowMs?: number
}

function rolesBytes(
  product: string,
  place: { readonly version: number; readonly revokedKeys: readonly string[]; readonly nowMs: number },
  keys: PublicationKeys,
): Uint8Array<ArrayBuffer> {
  const role = ({ publicKey }: DocumentSigner) => ({ keys: [hexEncode(publicKey)], threshold: 1 })
  return writeRoles({
    product,
    version: place.version,
    epoch: 1,
    issuedAt: formatTime(place.nowMs),
    expiresAt: formatTime(place.nowMs + ROLES_DAYS * DAY_MS),
    roles: { release: role(keys.release), head: role(keys.head) },
    revokedKeys: place.revokedKeys,
    transport: [],
    headDays: limits.maxHeadDays,
  })
}

function requireKeys(keys: PublicationKeys): void {
  requireMembers(keys, 'keys', ['release', 'head'])
  requireMembers(keys.release, 'keys.release', ['publicKey', 'sign'])
  requireMembers(keys.head, 'keys.head', ['publicKey', 'sign'])
}

/**
 * Begins to publish: makes an identity that says who may sign releases of a product. Call it once; a second call makes
 * another identity, which nobody who has the first pin will trust.
 *
 * @param product - Name of the product.
 * @param keys - All keys, those of the identity included.
 * @returns The pin that readers build in, and the state to store for {@link publishFiles}. Neither is secret.
 */
export async function startPublication(
  product: string,
  keys: PublicationKeys & IdentityKeys,
  options: StartPublicationOptions = {},
): Promise<{ readonly pin: string; readonly state: Uint8Array<ArrayBuffer> }> {
  requireKeys(keys)
  requireMembers(keys, 'keys', ['identity', 'nextIdentity'])
  const { channel = DEFAULT_CHANNEL, nowMs = Date.now() } = options
  const roles = rolesBytes(product, { version: 1, revokedKeys: [], nowMs }, keys)
  const { prefix, sn, said, message } = await incept(
    {
      keys: keys.identity.publicKeys,
      nextKeys: keys.nextIdentity,
      traits: ['EO'],
      seals: [sha256DigestSeal(roles)],
    },
    keys.identity,
  )
  const pin = formatPin({ prefix, place: { sn, said } })
  return { pin, state: writePublication({ channel, pin, log: message, roles, headSequence: 0 }) }
}

/**
 * Rotates the keys: other keys may sign releases from now on, and the old ones count for nothing. Readers keep their
 * pin. Publish afterwards, so that readers learn of it.
 *
 * @param state - What the last call gave.
 * @param keys - The new day-to-day keys, the promised keys of the identity, and the promise for the next time.
 * @returns The state to store.
 * @throws KelError `KEL_NEXT_COMMITMENT` when the identity's keys are not the promised ones.
 */
export async function rotatePublication(
  state: Uint8Array,
  keys: PublicationKeys & IdentityKeys,
  options: Pick<StartPublicationOptions, 'nowMs'> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  requireBytes(state, 'state')
  requireKeys(keys)
  requireMembers(keys, 'keys', ['identity', 'nextIdentity'])
  const { nowMs = Date.now() } = options
  const publication = parsePublication(state)
  const before = parseRoles(publication.roles)
  const now = [keys.release, keys.head].map(({ publicKey }) => hexEncode(publicKey))
  const retired = [...before.roles.release.keys, ...before.roles.head.keys].filter((key) => !now.includes(key))
  const revokedKeys = [...new Set([...before.revokedKeys, ...retired])]
  const roles = rolesBytes(before.product, { version: before.version + 1, revokedKeys, nowMs }, keys)
  const rotation = await rotate(
    verifyLog(publication.log, { pin: publication.pin }).state,
    { keys: keys.identity.publicKeys, nextKeys: keys.nextIdentity, seals: [sha256DigestSeal(roles)] },
    keys.identity,
  )
  return writePublication({ ...publication, log: concatBytes(publication.log, rotation.message), roles })
}

function manifestOf(
  files: readonly FileToPublish[],
  { channel, roles, manifest: last }: Publication,
  { version, notes }: PublishFilesOptions,
  nowMs: number,
): Uint8Array {
  if (version === undefined) {
    if (last === undefined) throw new TypeError('options must have version: nothing was published before')
    if (files.length > 0) throw new TypeError('options must have version, or files must be empty: then the last counts')
    return last
  }
  if (files.length === 0) throw new TypeError('files must not be empty')
  const { product, epoch, version: rolesVersion } = parseRoles(roles)
  const entries = files.map(({ path, bytes }, index) => {
    requireBytes(bytes, `files[${index}].bytes`)
    return { path, sha256: sha256Hex(bytes), size: bytes.length }
  })
  return writeManifest(
    buildManifest(entries, {
      version,
      nowMs,
      ...(notes !== undefined && { notes }),
      release: {
        product,
        channel,
        epoch,
        sequence: (last === undefined ? 0 : (parseManifest(last).sequence ?? 0)) + 1,
        rolesVersion,
        ...(last !== undefined && { previousSha256: sha256Hex(last) }),
      },
    }),
  )
}

/** A key that the identity has not named would make a release that everybody refuses. */
function checkNamed(roles: Uint8Array, keys: PublicationKeys): void {
  const named = parseRoles(roles).roles
  for (const role of ['release', 'head'] as const)
    if (!named[role].keys.includes(hexEncode(keys[role].publicKey)))
      throw new ManifestError(
        'MAN_KEY_UNKNOWN',
        `Cannot publish: keys.${role} is not the key that the identity names`,
        {
          hint: 'Give the key of the last startPublication() or rotatePublication()',
        },
      )
}

/**
 * Publishes files: signs a release of them, and that it is the newest. Upload the files and the release document to any
 * server; `verifyDownload()` trusts neither server nor network. Without files and version, the last release is
 * offered for longer, which is needed before its days are over.
 *
 * @param files - The whole release: paths and bytes.
 * @param keys - The day-to-day keys.
 * @param state - What {@link startPublication} or the last call gave.
 * @returns The release document to upload beside the files, and the state to store for the next call.
 * @throws ManifestError `MAN_KEY_UNKNOWN`, `MAN_VERSION`, `MAN_PATH`, `MAN_PATH_COLLISION`, `MAN_SCHEMA`.
 * @example `const { release, state: next } = await publishFiles(files, keys, state, { version: '1.2.3' })`
 */
export async function publishFiles(
  files: readonly FileToPublish[],
  keys: PublicationKeys,
  state: Uint8Array,
  options: PublishFilesOptions,
): Promise<{ readonly release: Uint8Array<ArrayBuffer>; readonly state: Uint8Array<ArrayBuffer> }> {
  requireList(files, 'files')
  requireKeys(keys)
  requireBytes(state, 'state')
  requireMembers(options, 'options', [])
  const { nowMs = Date.now(), headDays = limits.headDays } = options
  if (!Number.isInteger(headDays) || headDays < 1 || headDays > limits.maxHeadDays)
    throw new RangeError(`headDays must be an integer from 1 to ${limits.maxHeadDays}`)
  const publication = parsePublication(state)
  const { log, roles, channel } = publication
  checkNamed(roles, keys)
  const manifest = manifestOf(files, publication, options, nowMs)
  const { product, epoch, version: rolesVersion } = parseRoles(roles)
  const { lastEstablishment } = verifyLog(log, { pin: publication.pin }).state
  const headSequence = publication.headSequence + 1
  const head = await signHead(
    writeHead({
      product,
      channel,
      epoch,
      sequence: headSequence,
      issuedAt: formatTime(nowMs),
      expiresAt: formatTime(nowMs + headDays * DAY_MS),
      log: { sn: lastEstablishment.sn, said: lastEstablishment.said },
      rolesVersion,
      manifest: manifestPin(parseManifest(manifest), sha256Hex(manifest), manifest.length),
      revoked: [],
      mirrors: [],
    }),
    [keys.head],
  )
  // Signed again each time: after a rotation the same release counts under the new key.
  const signatures = await signManifest(manifest, [keys.release])
  return {
    release: writeReleaseBundle({ log, roles, head, manifest, signatures }),
    state: writePublication({ ...publication, headSequence, manifest }),
  }
}
