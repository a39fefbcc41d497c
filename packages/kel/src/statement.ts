import {
  base64Decode,
  base64Encode,
  dssePae,
  hexDecode,
  hexEncode,
  parseStrictJson,
  requireBytes,
  requireMembers,
  sha256,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { KelError } from './errors.ts'
import type { KeyState } from './key-state.ts'
import { collectSignatures } from './owner/sign-event.ts'
import { MAX_SEAL_TREE } from './seal-tree.ts'
import type { SealProof } from './seal-tree.ts'
import type { Signer } from './signer.ts'

/**
 * DSSE payload type of a statement. Signed bytes begin with it, so no file and no statement can pass for an event or a
 * release.
 */
export const STATEMENT_TYPE = 'application/vnd.keyturn.statement+json'

/** What a statement is about: a file, a commit, or the link of a device. */
export type StatementPurpose = 'file' | 'commit' | 'device'

/** What an identity says about a file, naming the place in its log whose keys sign. */
export interface Statement {
  readonly purpose: StatementPurpose
  /** Prefix of the identity. */
  readonly identity: string
  /** Place in its log. */
  readonly sn: number
  readonly said: string
  /** SHA-256 of the file, the raw commit object or the device document, 64 hex digits. */
  readonly sha256: string
  /** File name or commit id, for people. */
  readonly name: string | undefined
  /** What the signer says the time was; proves nothing. ISO 8601. */
  readonly claimedAt: string
}

/** A statement with its signatures, taken apart; nothing is verified yet. */
export interface StatementEnvelope {
  readonly statement: Statement
  /** The exact signed payload. */
  readonly payload: Uint8Array
  readonly signatures: readonly { readonly publicKey: Uint8Array; readonly signature: Uint8Array }[]
  /** Says where below a sealed root the digest is; it proves itself, so nothing signs it. */
  readonly proof: SealProof | undefined
}

const MAX_ENVELOPE_BYTES = 64 * 1024
const MAX_NAME_BYTES = 1024
const fields = ['type', 'schema', 'purpose', 'identity', 'sn', 'said', 'sha256', 'claimed_at']
const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/

function invalid(why: string, cause?: unknown): KelError {
  return new KelError('KEL_STATEMENT', `Statement is not valid: ${why}`, { cause })
}

/** The bytes of a statement, fields in their fixed order. */
export function writeStatement(statement: Statement): Uint8Array {
  const { purpose, identity, sn, said, sha256: digest, name, claimedAt } = statement
  return utf8Encode(
    JSON.stringify({
      type: 'keyturn.statement',
      schema: 1,
      purpose,
      identity,
      sn,
      said,
      sha256: digest,
      name,
      claimed_at: claimedAt,
    }),
  )
}

function record(value: JsonValue, what: string): Record<string, JsonValue> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} is not an object`)
  return value as Record<string, JsonValue>
}

function text(value: JsonValue | undefined, what: string, form: RegExp): string {
  if (typeof value !== 'string' || !form.test(value)) throw invalid(`${what} is missing or malformed`)
  return value
}

/**
 * Parses the payload of a statement.
 *
 * @throws {@link KelError} `KEL_STATEMENT`.
 */
export function parseStatement(payload: Uint8Array): Statement {
  const value = record(strict(payload), 'the payload')
  const unknown = Object.keys(value).find((name) => name !== 'name' && !fields.includes(name))
  if (unknown !== undefined) throw invalid('it has an unknown field')
  if (value['type'] !== 'keyturn.statement' || value['schema'] !== 1)
    throw invalid('it is not of type keyturn.statement, schema 1')
  const { sn, name } = value
  if (typeof sn !== 'number' || sn < 0) throw invalid('sn is missing or malformed')
  if (name !== undefined && (typeof name !== 'string' || name.length > MAX_NAME_BYTES))
    throw invalid('name is malformed')
  return {
    purpose: text(value['purpose'], 'purpose', /^(file|commit|device)$/) as StatementPurpose,
    identity: text(value['identity'], 'identity', /^[\w-]{44}$/),
    sn,
    said: text(value['said'], 'said', /^[\w-]{44}$/),
    sha256: text(value['sha256'], 'sha256', /^[0-9a-f]{64}$/),
    name,
    claimedAt: text(value['claimed_at'], 'claimed_at', timeForm),
  }
}

function strict(bytes: Uint8Array): JsonValue {
  try {
    return parseStrictJson(bytes, { maxBytes: MAX_ENVELOPE_BYTES })
  } catch (cause) {
    throw invalid('it is not strict JSON', cause)
  }
}

/**
 * Parses a signature file: a DSSE envelope of {@link STATEMENT_TYPE}.
 *
 * @throws {@link KelError} `KEL_STATEMENT`.
 */
export function parseStatementEnvelope(bytes: Uint8Array): StatementEnvelope {
  const value = record(strict(bytes), 'the envelope')
  const { payloadType, payload, signatures, proof } = value
  if (payloadType !== STATEMENT_TYPE) throw invalid(`its type is not ${STATEMENT_TYPE}`)
  if (typeof payload !== 'string' || !Array.isArray(signatures) || signatures.length === 0 || signatures.length > 64)
    throw invalid('payload or signatures are missing')
  const keyids = new Set<string>()
  try {
    const raw = base64Decode(payload)
    const parsed = signatures.map((entry) => {
      const { keyid, sig } = record(entry, 'a signature')
      if (typeof keyid !== 'string' || typeof sig !== 'string' || keyids.has(keyid))
        throw invalid('a signature is malformed or repeated')
      keyids.add(keyid)
      return { publicKey: hexDecode(keyid), signature: base64Decode(sig) }
    })
    return { statement: parseStatement(raw), payload: raw, signatures: parsed, proof: parseProof(proof) }
  } catch (cause) {
    throw cause instanceof KelError ? cause : invalid('its encoding is not canonical', cause)
  }
}

function parseProof(value: JsonValue | undefined): SealProof | undefined {
  if (value === undefined) return undefined
  const { size, index, path } = record(value, 'the proof')
  const isSound =
    typeof size === 'number' && size >= 1 && size <= MAX_SEAL_TREE && typeof index === 'number' && index >= 0
  if (!isSound || !Array.isArray(path) || path.length > Math.log2(MAX_SEAL_TREE))
    throw invalid('its proof is malformed')
  return { size, index, path: path.map((hash) => hexDecode(text(hash, 'a hash of the proof', /^[0-9a-f]{64}$/))) }
}

/**
 * Adds to a signature file the proof that its digest is below a sealed root. Anyone who has the log can then verify the
 * place without the other digests; readers that know no proofs pass over it.
 *
 * @param envelope - The signature file; one proof replaces another.
 * @throws {@link KelError} `KEL_STATEMENT`.
 */
export function attachSealProof(envelope: Uint8Array, { size, index, path }: SealProof): Uint8Array {
  parseStatementEnvelope(envelope)
  const value = record(strict(envelope), 'the envelope')
  const proof = { size, index, path: path.map(hexEncode) }
  return utf8Encode(`${JSON.stringify({ ...value, proof }, null, 2)}\n`)
}

/** What is to be stated; the place comes from the key state. */
export interface StatementContent {
  readonly purpose: StatementPurpose
  /** SHA-256 of what is signed: 32 bytes, or as {@link statementDigest} writes it. */
  readonly sha256: Uint8Array | string
  readonly name?: string
  /** Milliseconds since the epoch. */
  readonly claimedAtMs: number
}

/**
 * Signs a statement with the keys in force.
 *
 * @param state - Current key state; its last establishment is the place the statement names.
 * @returns The signature file.
 * @throws {@link KelError} `KEL_SIGNATURE` when the signer's keys do not reach the threshold.
 */
export async function signStatement(state: KeyState, content: StatementContent, signer: Signer): Promise<Uint8Array> {
  requireMembers(state, 'state', ['prefix', 'said'])
  requireMembers(content, 'content', ['purpose', 'sha256'])
  requireMembers(signer, 'signer', ['publicKeys', 'sign'])
  const payload = writeStatement({
    purpose: content.purpose,
    identity: state.prefix,
    sn: state.sn,
    said: state.said,
    sha256: hexEncode(digestBytes(content.sha256, 'sha256')),
    name: content.name,
    claimedAt: new Date(content.claimedAtMs).toISOString(),
  })
  parseStatement(payload)
  const collected = await collectSignatures(dssePae(STATEMENT_TYPE, payload), state.publicKeys, signer)
  if (!state.threshold.met(new Set(collected.map(({ index }) => index)))) {
    throw new KelError(
      'KEL_SIGNATURE',
      `Signer has ${collected.length} of the ${state.keys.length} keys in force, which is not enough`,
    )
  }
  const signatures = collected.map(({ index, signature }) => ({
    keyid: hexEncode(state.publicKeys[index] as Uint8Array),
    sig: base64Encode(signature),
  }))
  return utf8Encode(
    `${JSON.stringify({ payloadType: STATEMENT_TYPE, payload: base64Encode(payload), signatures }, null, 2)}\n`,
  )
}

/**
 * A digest as bytes, whichever of its two forms was given.
 *
 * @throws TypeError that names the argument.
 */
export function digestBytes(digest: unknown, name: string): Uint8Array {
  if (typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest)) return hexDecode(digest)
  if (digest instanceof Uint8Array && digest.length === 32) return digest
  throw new TypeError(`${name} must be a SHA-256: 32 bytes, or 64 lower-case hexadecimal digits`)
}

/** SHA-256 of a file in the form that statements use: 64 lower-case hexadecimal digits. */
export function statementDigest(content: Uint8Array): string {
  requireBytes(content, 'content')
  return hexEncode(sha256(content))
}
