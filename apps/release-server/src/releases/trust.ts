import {
  initialTrustState,
  ManifestError,
  parseTrustRoot,
  parseTrustState,
  releaseSteps,
  writeTrustState,
} from '@keyturn/manifest'
import type {
  DocumentAnswer,
  DocumentRequest,
  ManifestPin,
  ReleaseDecision,
  TrustState,
  VerifiedAuthority,
} from '@keyturn/manifest'
import { sha256Hex } from '@keyturn/primitives'
import type { KeyturnError } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import { documentKey, documents } from '../public/documents.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { object, optional, text } from '../storage/shape.ts'

/** Manifest and signatures of one release. */
export interface SignedManifest {
  readonly manifest: Uint8Array
  readonly signatures: Uint8Array
}

/** Documents that are new in a change; what is not given is taken from the store. */
export interface ProposedDocuments {
  readonly log?: Uint8Array | undefined
  /** By version. */
  readonly roles?: ReadonlyMap<number, Uint8Array> | undefined
  readonly head?: Uint8Array | undefined
  readonly manifest?: Uint8Array | undefined
  readonly signatures?: Uint8Array | undefined
  /** Finds the release that a head falls back to, once the head was verified and its pin is asked for. */
  readonly fallback?: ((pin: ManifestPin) => Promise<SignedManifest>) | undefined
}

/** What is verified, and when. */
export interface Subject {
  readonly product: string
  readonly pin: string
  readonly channel: string
  readonly nowMs: number
  /** Which of the two offers of a head: `in` the manifest, `out` the fallback. */
  readonly cohort?: 'in' | 'out' | undefined
}

/** Trust states of products: the state is the body; the hash of one that an earlier version stored is not there. */
export const trustStates = collection(
  'trust',
  object<{ readonly sha256?: string | undefined }>({ sha256: optional(text) }),
)
/** Role documents that wait for the log that seals them. */
export const stagedRoles = collection('staged-roles', object<object>({}))

/** The trust state of a product, as the server remembers it. */
export async function readTrustState(records: RecordReader, product: string, pin: string): Promise<TrustState> {
  const stored = await trustStates.body(records, product)
  return stored === undefined ? initialTrustState(parseTrustRoot(pin)) : parseTrustState(stored)
}

/** Stores the trust state of a product. */
export async function storeTrustState(records: RecordWriter, product: string, state: TrustState): Promise<void> {
  const body = writeTrustState(state)
  await trustStates.put(records, { key: product, value: { sha256: sha256Hex(body) }, body })
}

/** Name of the key event log of an identity. */
export function logName(prefix: string): string {
  return `kel/${prefix}.cesr`
}

/** Name of a role document. */
export function rolesName(version: number): string {
  return `roles/${version}.json`
}

/** Name of the notices of keys that ended themselves. */
export const KILLS_NAME = 'kills.json'

/** The notices of keys of a product that ended themselves; `undefined` when there are none. */
export async function killsOf(records: RecordReader, product: string): Promise<Uint8Array | undefined> {
  return await documents.body(records, documentKey(product, undefined, KILLS_NAME))
}

/** Role document of a version: proposed with this change, in force before, or uploaded and waiting for its seal. */
async function findRoles(
  records: RecordReader,
  product: string,
  version: number,
  proposed: ProposedDocuments,
): Promise<Uint8Array | undefined> {
  return (
    proposed.roles?.get(version) ??
    (await documents.body(records, documentKey(product, undefined, rolesName(version)))) ??
    (await stagedRoles.body(records, `${product}/${version}`))
  )
}

/** All role documents that were in force: what one of them revoked stays revoked. */
async function earlierRoles(records: RecordReader, product: string): Promise<Uint8Array[]> {
  const found = await documents.all(records, { prefix: documentKey(product, undefined, 'roles/'), bodies: true })
  return found.flatMap(({ body }) => (body === undefined ? [] : [body]))
}

/** Of the two releases at hand, the one whose bytes are asked for. */
async function offered(
  { manifest, signatures, fallback }: ProposedDocuments,
  pin: ManifestPin | undefined,
): Promise<Partial<SignedManifest>> {
  const isOther = pin !== undefined && (manifest === undefined || sha256Hex(manifest) !== pin.sha256)
  if (fallback !== undefined && isOther) return fallback(pin)
  return { ...(manifest === undefined ? {} : { manifest }), ...(signatures === undefined ? {} : { signatures }) }
}

async function answer(
  records: RecordReader,
  { product, channel }: Subject,
  request: DocumentRequest,
  proposed: ProposedDocuments,
): Promise<DocumentAnswer> {
  switch (request.document) {
    case 'log':
      return proposed.log ?? documents.body(records, documentKey(product, undefined, logName(request.prefix)))
    case 'roles':
      return findRoles(records, product, request.version, proposed)
    case 'kills':
      return killsOf(records, product)
    case 'head':
      return proposed.head ?? documents.body(records, documentKey(product, channel, 'head.json'))
    case 'manifest':
      return (await offered(proposed, request.pin)).manifest
    case 'signatures':
      return (await offered(proposed, request.pin)).signatures
    case 'proof': // a release is published before it can be in the log
    case 'legacy-signature':
      return undefined
  }
}

/**
 * Verifies documents as a launcher with this server's memory would: `releaseSteps` of the manifest package decides, and
 * this only fetches what it asks for.
 */
export async function verifyOffer(
  records: RecordReader,
  state: TrustState,
  subject: Subject,
  proposed: ProposedDocuments,
): Promise<ReleaseDecision> {
  const { channel, nowMs, product, cohort = 'in' } = subject
  const steps = releaseSteps(
    state,
    { channel, nowMs, product, cohort, withoutLog: true },
    await earlierRoles(records, product),
  )
  let step = steps.next()
  while (step.done !== true) step = steps.next(await answer(records, subject, step.value, proposed))
  return step.value
}

/** The error of a refused change, under the server's own code where it has one. */
export function refusal(error: KeyturnError): KeyturnError {
  if (error instanceof ManifestError && error.code === 'MAN_ROLLBACK')
    return new ServerError('PUB_ROLLBACK', error.message, { cause: error })
  if (error instanceof ManifestError && isMissing(error)) {
    return new ServerError(
      'PUB_UNSEALED',
      'The product has no key event log, or the log seals a role document that was not uploaded',
      { cause: error },
    )
  }
  return error
}

/**
 * Something that the log calls for is not here. A role document that is here and wrong has no version in its details.
 */
function isMissing({ code, details }: ManifestError): boolean {
  return code === 'TRUST_MISSING' || (code === 'TRUST_ROLES' && details['version'] !== undefined)
}

/**
 * Verifies a key event log and the role document it seals, without any release.
 *
 * @throws KelError, ManifestError, ServerError `PUB_UNSEALED`.
 */
export async function verifyAuthority(
  records: RecordReader,
  state: TrustState,
  subject: Subject,
  proposed: ProposedDocuments,
): Promise<{ authority: VerifiedAuthority; state: TrustState }> {
  const decision = await verifyOffer(records, state, subject, { ...proposed, head: new Uint8Array(0) })
  const { authority } = decision
  // Log and role document are decided before the head is looked at; that there is none here does not refuse them.
  const settled = authority !== undefined && decision.outcome === 'refused' && decision.document === 'head'
  if (settled) return { authority, state: decision.state }
  throw decision.outcome === 'refused'
    ? refusal(decision.error)
    : new TypeError('Cannot verify an authority: no head was given')
}
