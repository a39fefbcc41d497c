import {
  base64Decode,
  base64Encode,
  dssePae,
  ed25519Verify,
  hexDecode,
  hexEncode,
  PrimitivesError,
  requireBytes,
  requireList,
  sha256Hex,
  utf8Encode,
} from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { parseDocument } from './fields.ts'
import type { DocumentKind, Fields } from './fields.ts'
import { limits } from './limits.ts'
import type { Role } from './model.ts'

/** Media types that keep one kind of signed document from passing for another. */
export const payloadTypes = {
  manifest: 'application/vnd.keyturn.manifest+json',
  head: 'application/vnd.keyturn.head+json',
  kill: 'application/vnd.keyturn.kill+json',
} as const

const ENVELOPE: DocumentKind = {
  name: 'envelope',
  schemaCode: 'MAN_SIGNATURE_FORMAT',
  jsonCode: 'MAN_SIGNATURE_FORMAT',
}
const KEY_ID = /^[0-9a-f]{64}$/

/** One signature of an envelope, not yet verified. */
export interface EnvelopeSignature {
  /** Claimed Ed25519 public key, 64 lower-case hex. */
  readonly keyid: string
  /** 64 bytes, or fewer when the entry is rubbish; rubbish counts for nothing. */
  readonly signature: Uint8Array
}

/** `manifest.sigs.json`: signatures over the bytes of the file beside it. */
export interface DetachedEnvelope {
  /** SHA-256 of the bytes it is about, 64 lower-case hex. */
  readonly payloadSha256: string
  /** Their length. */
  readonly payloadLength: number
  /** The signatures. */
  readonly signatures: readonly EnvelopeSignature[]
}

/** `head.json`: signatures and the bytes they cover. */
export interface AttachedEnvelope {
  /** The literal bytes that are signed. */
  readonly payload: Uint8Array
  /** The signatures. */
  readonly signatures: readonly EnvelopeSignature[]
}

/** Makes signatures under one key; what holds the key stays outside. */
export interface DocumentSigner {
  /** Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Signs the message, 64 bytes. */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>
}

function decodeSignature(text: string): Uint8Array {
  try {
    return base64Decode(text)
  } catch (cause) {
    if (cause instanceof PrimitivesError) return new Uint8Array(0)
    throw cause
  }
}

function readSignatures(fields: Fields): EnvelopeSignature[] {
  const seen = new Set<string>()
  return fields.objects('signatures', { max: limits.signatures }, (item) => {
    const keyid = item.text('keyid', 256)
    // TUF counts distinct keys; an envelope that names one twice is refused rather than counted with care.
    if (seen.has(keyid))
      throw new ManifestError('MAN_THRESHOLD', `Cannot use envelope: key ${keyid.slice(0, 64)} signs twice`)
    seen.add(keyid)
    return { keyid, signature: decodeSignature(item.looseText('sig')) }
  })
}

/**
 * Reads `manifest.sigs.json`.
 *
 * @throws {@link ManifestError} `MAN_LIMIT`, `MAN_SIGNATURE_FORMAT`, `MAN_TYPE`, `MAN_THRESHOLD` for a key named twice.
 */
export function parseSignatures(bytes: Uint8Array): DetachedEnvelope {
  const fields = parseDocument(bytes, ENVELOPE, limits.signaturesBytes)
  fields.exactly('payloadType', payloadTypes.manifest, 'MAN_TYPE')
  return {
    payloadSha256: fields.digest('payload_sha256'),
    payloadLength: fields.integer('payload_length', 0, limits.manifestBytes),
    signatures: readSignatures(fields),
  }
}

/**
 * Reads `head.json` down to the bytes that are signed, and no further.
 *
 * @throws {@link ManifestError} `MAN_LIMIT`, `MAN_SIGNATURE_FORMAT`, `MAN_TYPE`, `MAN_THRESHOLD` for a key named twice.
 */
export function parseHeadEnvelope(bytes: Uint8Array): AttachedEnvelope {
  const fields = parseDocument(bytes, ENVELOPE, limits.headBytes)
  fields.exactly('payloadType', payloadTypes.head, 'MAN_TYPE')
  const text = fields.text('payload', limits.headBytes)
  const payload = decodeSignature(text)
  if (payload.length === 0) fields.fail('payload', 'is not padded base64')
  return { payload, signatures: readSignatures(fields) }
}

/** Who may sign a document. */
export interface SigningRule extends Role {
  /** Keys that once could, for a telling answer. */
  readonly revokedKeys: readonly string[]
  /** Keys that ended themselves: they count for nothing here. Default: none. */
  readonly killedKeys?: readonly string[] | undefined
}

function explainMissing(
  signatures: readonly EnvelopeSignature[],
  rule: SigningRule,
  valid: number,
  name: string,
): never {
  const claimed = signatures.map(({ keyid }) => keyid)
  if (claimed.some((keyid) => rule.killedKeys?.includes(keyid) === true)) {
    throw new ManifestError('MAN_KEY_KILLED', `Cannot trust ${name}: it is signed by a key that has ended itself`, {
      hint: 'Nothing new is installed until the publisher puts another key in force; what is installed keeps working',
    })
  }
  if (valid > 0) {
    throw new ManifestError('MAN_THRESHOLD', `Cannot trust ${name}: ${valid} of ${rule.threshold} keys signed`, {
      details: { signed: valid, threshold: rule.threshold },
    })
  }
  if (claimed.length === 0 || claimed.some((keyid) => rule.keys.includes(keyid))) {
    throw new ManifestError('MAN_SIGNATURE', `Cannot trust ${name}: no signature of its role fits these bytes`)
  }
  if (claimed.some((keyid) => rule.revokedKeys.includes(keyid))) {
    throw new ManifestError('MAN_KEY_RETIRED', `Cannot trust ${name}: it is signed by a revoked key only`)
  }
  throw new ManifestError('MAN_KEY_UNKNOWN', `Cannot trust ${name}: it is signed by no key of its role`)
}

/** What was signed, and what it is called in messages. */
export interface SignedBytes {
  /** One of `payloadTypes`. */
  readonly payloadType: string
  readonly bytes: Uint8Array
  readonly name: string
}

/**
 * Counts the distinct keys of a role that signed literal bytes; unknown keys and malformed signatures are skipped.
 *
 * @returns The keys that did, in the order of the envelope.
 * @throws {@link ManifestError} `MAN_SIGNATURE`, `MAN_THRESHOLD`, `MAN_KEY_RETIRED`, `MAN_KEY_KILLED`,
 *   `MAN_KEY_UNKNOWN`.
 */
export function verifyThreshold(
  { payloadType, bytes, name }: SignedBytes,
  signatures: readonly EnvelopeSignature[],
  rule: SigningRule,
): string[] {
  const message = dssePae(payloadType, bytes)
  const valid = new Set<string>()
  for (const { keyid, signature } of signatures) {
    const ended = rule.revokedKeys.includes(keyid) || rule.killedKeys?.includes(keyid) === true
    const counts = rule.keys.includes(keyid) && !ended && signature.length === 64
    if (counts && ed25519Verify(hexDecode(keyid), message, signature)) valid.add(keyid)
  }
  if (valid.size < rule.threshold) explainMissing(signatures, rule, valid.size, name)
  return [...valid]
}

/** What the signatures over a manifest prove. */
export interface SignedManifest {
  /** Keys of the role that signed. */
  readonly signedBy: readonly string[]
  /** SHA-256 of the literal bytes, 64 lower-case hex. */
  readonly sha256: string
}

/**
 * Verifies that the release role signed the literal bytes of a manifest.
 *
 * @throws {@link ManifestError} as {@link parseSignatures} and {@link verifyThreshold}.
 */
export function verifyManifestSignatures(
  manifest: Uint8Array,
  envelope: Uint8Array,
  rule: SigningRule,
): SignedManifest {
  const { payloadLength, payloadSha256, signatures } = parseSignatures(envelope)
  const sha256 = sha256Hex(manifest)
  if (payloadLength !== manifest.length || payloadSha256 !== sha256) {
    throw new ManifestError('MAN_SIGNATURE', 'Cannot trust manifest: its signatures are about other bytes', {
      details: { length: manifest.length, signedLength: payloadLength },
    })
  }
  return {
    signedBy: verifyThreshold(
      { payloadType: payloadTypes.manifest, bytes: manifest, name: 'manifest' },
      signatures,
      rule,
    ),
    sha256,
  }
}

async function collect(
  payloadType: string,
  body: Uint8Array,
  signers: readonly DocumentSigner[],
  existing: readonly EnvelopeSignature[],
): Promise<{ keyid: string; sig: string }[]> {
  const message = dssePae(payloadType, body)
  const made = new Map(existing.map(({ keyid, signature }) => [keyid, signature]))
  for (const signer of signers) made.set(hexEncode(signer.publicKey), await signer.sign(message))
  return [...made]
    .filter(([keyid]) => KEY_ID.test(keyid))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([keyid, signature]) => ({ keyid, sig: base64Encode(signature) }))
}

function envelopeBytes(members: object): Uint8Array<ArrayBuffer> {
  return utf8Encode(`${JSON.stringify(members, null, 2)}\n`)
}

/**
 * Signs the literal bytes of a manifest: makes `manifest.sigs.json`, or adds to one.
 *
 * @param manifest - The literal document.
 * @param signers - One per key.
 * @param existing - An envelope over the same bytes whose signatures are kept.
 * @throws {@link ManifestError} `MAN_PIN` when `existing` is about other bytes.
 */
export async function signManifest(
  manifest: Uint8Array,
  signers: readonly DocumentSigner[],
  existing?: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  requireBytes(manifest, 'manifest')
  requireList(signers, 'signers')
  const digest = sha256Hex(manifest)
  const kept = existing && parseSignatures(existing)
  if (kept !== undefined && kept.payloadSha256 !== digest) {
    throw new ManifestError('MAN_PIN', 'Cannot add a signature: the envelope is about another manifest')
  }
  return envelopeBytes({
    payloadType: payloadTypes.manifest,
    payload_sha256: digest,
    payload_length: manifest.length,
    signatures: await collect(payloadTypes.manifest, manifest, signers, kept?.signatures ?? []),
  })
}

/**
 * Puts the payload of a head into its envelope, signed.
 *
 * @param payload - What `writeHead` made.
 * @param signers - One per key.
 * @param existing - Signatures over the same payload that are kept.
 */
export async function signHead(
  payload: Uint8Array,
  signers: readonly DocumentSigner[],
  existing: readonly EnvelopeSignature[] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  requireBytes(payload, 'payload')
  requireList(signers, 'signers')
  return envelopeBytes({
    payloadType: payloadTypes.head,
    payload: base64Encode(payload),
    signatures: await collect(payloadTypes.head, payload, signers, existing),
  })
}

/**
 * Adds signatures to a head that is already in its envelope.
 *
 * @throws {@link ManifestError} as {@link parseHeadEnvelope}.
 */
export async function addHeadSignature(
  envelope: Uint8Array,
  signers: readonly DocumentSigner[],
): Promise<Uint8Array<ArrayBuffer>> {
  const { payload, signatures } = parseHeadEnvelope(envelope)
  return signHead(payload, signers, signatures)
}
