import {
  initialTrustState,
  ManifestError,
  parseTrustRoot,
  parseTrustState,
  releaseSteps,
  sha256Hex,
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
import type { KeyturnError } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import { documentKey } from '../public/documents.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'

/** Documents that are new in a change; what is not given is taken from the store. */
export interface ProposedDocuments {
  readonly log?: Uint8Array | undefined
  /** By version. */
  readonly roles?: ReadonlyMap<number, Uint8Array> | undefined
  readonly head?: Uint8Array | undefined
  readonly manifest?: Uint8Array | undefined
  readonly signatures?: Uint8Array | undefined
  /** The release that a head falls back to, handed over when its pin is asked for. */
  readonly fallback?: { readonly manifest: Uint8Array; readonly signatures: Uint8Array } | undefined
}

/** What one judgement is about. */
export interface Judgement {
  readonly product: string
  readonly pin: string
  readonly channel: string
  readonly nowMs: number
  /** Which of the two offers of a head: `in` the manifest, `out` the fallback. */
  readonly cohort?: 'in' | 'out'
}

/** The trust state of a product, as the server remembers it. */
export async function readTrustState(records: RecordReader, product: string, pin: string): Promise<TrustState> {
  const stored = (await records.get('trust', product))?.body
  return stored === undefined ? initialTrustState(parseTrustRoot(pin)) : parseTrustState(stored)
}

/** Stores the trust state of a product. */
export async function storeTrustState(records: RecordWriter, product: string, state: TrustState): Promise<void> {
  await records.put('trust', { key: product, value: {}, body: writeTrustState(state) })
}

/** Name of the key event log of an identity. */
export function logName(prefix: string): string {
  return `kel/${prefix}.cesr`
}

/** Name of a role document. */
export function rolesName(version: number): string {
  return `roles/${version}.json`
}

async function stored(records: RecordReader, key: string): Promise<Uint8Array | undefined> {
  return (await records.get('documents', key))?.body
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
    (await stored(records, documentKey(product, undefined, rolesName(version)))) ??
    (await records.get('staged-roles', `${product}/${version}`))?.body
  )
}

/** All role documents that were in force: what one of them revoked stays revoked. */
async function earlierRoles(records: RecordReader, product: string): Promise<Uint8Array[]> {
  const found = await records.list('documents', { prefix: documentKey(product, undefined, 'roles/'), bodies: true })
  return found.flatMap(({ body }) => (body === undefined ? [] : [body]))
}

/** Of the two releases at hand, the one whose bytes are asked for. */
function offered(
  proposed: ProposedDocuments,
  pin: ManifestPin | undefined,
): Pick<ProposedDocuments, 'manifest' | 'signatures'> | undefined {
  const { manifest, fallback } = proposed
  return fallback !== undefined && pin !== undefined && (manifest === undefined || sha256Hex(manifest) !== pin.sha256)
    ? fallback
    : proposed
}

async function answer(
  records: RecordReader,
  about: Judgement,
  request: DocumentRequest,
  proposed: ProposedDocuments,
): Promise<DocumentAnswer> {
  const { product, channel } = about
  switch (request.document) {
    case 'log':
      return proposed.log ?? stored(records, documentKey(product, undefined, logName(request.prefix)))
    case 'roles':
      return findRoles(records, product, request.version, proposed)
    case 'head':
      return proposed.head ?? stored(records, documentKey(product, channel, 'head.json'))
    case 'manifest':
      return offered(proposed, request.pin)?.manifest
    case 'signatures':
      return offered(proposed, request.pin)?.signatures
    case 'legacy-signature':
      return undefined
  }
}

/**
 * Judges documents as a launcher with this server's memory would: `releaseSteps` of the manifest package decides, this
 * only hands it what it asks for.
 */
export async function judge(
  records: RecordReader,
  state: TrustState,
  about: Judgement,
  proposed: ProposedDocuments,
): Promise<ReleaseDecision> {
  const { channel, nowMs, product, cohort = 'in' } = about
  const steps = releaseSteps(state, { channel, nowMs, product, cohort }, await earlierRoles(records, product))
  let step = steps.next()
  while (step.done !== true) step = steps.next(await answer(records, about, step.value, proposed))
  return step.value
}

/** The error of a refused change, with the server's word where it has one of its own. */
export function refusal(error: KeyturnError): KeyturnError {
  if (error instanceof ManifestError && error.code === 'MAN_ROLLBACK')
    return new ServerError('PUB_ROLLBACK', error.message, { cause: error })
  if (error instanceof ManifestError && error.code === 'TRUST_MISSING') {
    return new ServerError(
      'PUB_UNSEALED',
      'The product has no key event log, or the log seals a role document that was not uploaded',
      { cause: error },
    )
  }
  return error
}

/**
 * Judges a key event log and the role document it seals, without any release.
 *
 * @throws KelError, ManifestError, ServerError `PUB_UNSEALED`.
 */
export async function judgeAuthority(
  records: RecordReader,
  state: TrustState,
  about: Judgement,
  proposed: ProposedDocuments,
): Promise<{ authority: VerifiedAuthority; state: TrustState }> {
  const decision = await judge(records, state, about, { ...proposed, head: new Uint8Array(0) })
  const { authority } = decision
  // Log and role document are settled before the head is looked at; that there is none here is no refusal of them.
  const settled = authority !== undefined && decision.outcome === 'refused' && decision.document === 'head'
  if (settled) return { authority, state: decision.state }
  throw decision.outcome === 'refused'
    ? refusal(decision.error)
    : new TypeError('Cannot judge an authority: no head was given')
}
