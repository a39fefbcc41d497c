import { base64Decode, base64Encode, dssePae, ed25519Verify, hexDecode, hexEncode } from '@keyturn/primitives'
import { payloadTypes } from '../envelope.ts'
import type { DocumentSigner } from '../envelope.ts'
import { ManifestError } from '../errors.ts'
import { parseDocument } from '../fields.ts'
import type { DocumentKind, Fields } from '../fields.ts'
import { limits } from '../limits.ts'
import type { RoleDocument } from '../model.ts'
import { documentBytes } from '../write-manifest.ts'

/**
 * A key of a role says that it has ended. It only takes rights away, so the key alone can say it;
 * docs/spec/manifest.md §9.
 */
export interface KillNotice {
  readonly product: string
  /** The key that ends, and that signs: 64 lower-case hex. */
  readonly key: string
  /** When it was made, as its maker says; nothing is decided by it. */
  readonly issuedAt: string
}

/** A notice with what makes it count. */
export interface SignedKill {
  readonly notice: KillNotice
  /** The literal bytes that are signed. */
  readonly payload: Uint8Array
  /** 64 bytes. */
  readonly signature: Uint8Array
}

const NOTICE: DocumentKind = { name: 'kill notice', schemaCode: 'MAN_KILL', jsonCode: 'MAN_KILL' }
const LIST: DocumentKind = { name: 'kill notices', schemaCode: 'MAN_KILL', jsonCode: 'MAN_KILL' }
/** Longest payload of a notice, characters of base64. */
const MAX_PAYLOAD_TEXT = 1024

function readNotice(payload: Uint8Array): KillNotice {
  const fields = parseDocument(payload, NOTICE, limits.killsBytes)
  fields.exactly('type', 'keyturn.kill', 'MAN_KILL')
  fields.integer('schema', 1, 1)
  return { product: fields.name('product'), key: fields.digest('key'), issuedAt: fields.time('issued_at') }
}

function decoded(fields: Fields, member: string, maxText: number): Uint8Array {
  const text = fields.text(member, maxText)
  try {
    return base64Decode(text)
  } catch {
    return fields.fail(member, 'is not padded base64')
  }
}

function readSigned(fields: Fields): SignedKill {
  fields.exactly('payloadType', payloadTypes.kill, 'MAN_KILL')
  const payload = decoded(fields, 'payload', MAX_PAYLOAD_TEXT)
  const signature = decoded(fields, 'sig', 88)
  const notice = readNotice(payload)
  if (!ed25519Verify(hexDecode(notice.key), dssePae(payloadTypes.kill, payload), signature)) {
    throw new ManifestError('MAN_KILL', `Cannot use kill notice: key ${notice.key} has not signed it`)
  }
  return { notice, payload, signature }
}

function members({ payload, signature }: Pick<SignedKill, 'payload' | 'signature'>): object {
  return { payloadType: payloadTypes.kill, payload: base64Encode(payload), sig: base64Encode(signature) }
}

/**
 * Signs the end of a key, by that key.
 *
 * @param signer - The key that ends.
 * @returns A notice as `release kill` uploads it: one entry of `kills.json`.
 */
export async function signKill(
  { product, issuedAt }: Pick<KillNotice, 'product' | 'issuedAt'>,
  signer: DocumentSigner,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = hexEncode(signer.publicKey)
  const payload = documentBytes({ type: 'keyturn.kill', schema: 1, product, key, issued_at: issuedAt })
  const signature = await signer.sign(dssePae(payloadTypes.kill, payload))
  const bytes = formatKill({ payload, signature })
  parseKill(bytes)
  return bytes
}

/** One notice as a document of its own. */
export function formatKill(kill: Pick<SignedKill, 'payload' | 'signature'>): Uint8Array<ArrayBuffer> {
  return documentBytes(members(kill))
}

/**
 * Reads and verifies one notice.
 *
 * @throws {@link ManifestError} `MAN_KILL`, `MAN_LIMIT`.
 */
export function parseKill(bytes: Uint8Array): SignedKill {
  return readSigned(parseDocument(bytes, NOTICE, limits.killsBytes))
}

/** Writes `kills.json`, sorted by key; of two notices of one key the first is kept. */
export function writeKills(kills: readonly SignedKill[]): Uint8Array<ArrayBuffer> {
  const byKey = new Map(kills.toReversed().map((kill) => [kill.notice.key, kill]))
  const sorted = [...byKey.values()].toSorted((a, b) => (a.notice.key < b.notice.key ? -1 : 1))
  return documentBytes({ type: 'keyturn.kills', schema: 1, kills: sorted.map((kill) => members(kill)) })
}

/** What is wrong with one entry must not hide the others: the server of the list could add rubbish to it. */
function readable(fields: Fields): SignedKill | undefined {
  try {
    return readSigned(fields)
  } catch (error) {
    if (error instanceof ManifestError) return undefined
    throw error
  }
}

/** The notices of `kills.json` that are right; a list that cannot be read has none. */
export function readKills(bytes: Uint8Array): SignedKill[] {
  try {
    const fields = parseDocument(bytes, LIST, limits.killsBytes)
    fields.exactly('type', 'keyturn.kills', 'MAN_KILL')
    return fields.objects('kills', { max: limits.kills }, readable).filter((kill) => kill !== undefined)
  } catch (error) {
    if (error instanceof ManifestError) return []
    throw error
  }
}

/** The notices that count under a role document. */
export interface FoundKills {
  /** Keys that have ended, 64 lower-case hex. */
  readonly keys: readonly string[]
  /** `kills.json` with their notices alone; undefined when there are none. */
  readonly bytes: Uint8Array | undefined
}

/**
 * Finds the keys of a role document that have ended themselves. A list that cannot be read, and entries that are wrong,
 * count for nothing: they never keep anybody from a release, and never hide a notice that is right.
 *
 * @param documents - `kills.json` from anywhere: the server, mirrors, the disk.
 */
export function findKills(documents: readonly Uint8Array[], { product, roles }: RoleDocument): FoundKills {
  const inForce = new Set([...roles.release.keys, ...roles.head.keys])
  const kills = documents
    .flatMap((bytes) => readKills(bytes))
    .filter(({ notice }) => notice.product === product && inForce.has(notice.key))
  if (kills.length === 0) return { keys: [], bytes: undefined }
  return { keys: [...new Set(kills.map(({ notice }) => notice.key))], bytes: writeKills(kills) }
}
