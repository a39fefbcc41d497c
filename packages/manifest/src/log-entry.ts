import { canonicalJson, isRecord, parseStrictJson, sha256Hex, utf8Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { isName } from './fields.ts'
import { limits } from './limits.ts'

/** What the log of releases says was published: docs/spec/tlog.md §9. */
export interface LogEntry {
  /**
   * `release`: a manifest; `roles`: a role document; `offer`: what a head says beside its number, dates and place in
   * the key event log, so that renewing a head adds nothing.
   */
  readonly type: 'release' | 'roles' | 'offer'
  readonly product: string
  /** `-` for role documents, which are for all channels. */
  readonly channel: string
  /** Sequence of the manifest, for an offer of the one that it offers; version of the role document. */
  readonly number: number
  /** SHA-256 of the literal bytes, for an offer {@link offerDigest}: 64 lower-case hex. */
  readonly sha256: string
}

const FIRST_LINE = 'keyturn-log/v1'
const FORM = /^keyturn-log\/v1\n(release|roles|offer)\n([^\n]+)\n([^\n]+)\n([1-9][0-9]{0,15})\n([0-9a-f]{64})\n$/
/** Longest entry, bytes. */
const MAX_ENTRY_BYTES = 512

/** The bytes of an entry. */
export function formatLogEntry({ type, product, channel, number, sha256 }: LogEntry): Uint8Array<ArrayBuffer> {
  return utf8Encode([FIRST_LINE, type, product, channel, String(number), sha256, ''].join('\n'))
}

/**
 * Reads an entry.
 *
 * @throws {@link ManifestError} `MAN_LOG_ENTRY`.
 */
export function parseLogEntry(bytes: Uint8Array): LogEntry {
  const parts = bytes.length > MAX_ENTRY_BYTES ? null : FORM.exec(new TextDecoder('latin1').decode(bytes))
  const [, type, product = '', channel = '', number = '', sha256 = ''] = parts ?? []
  const hasChannel = type === 'roles' ? channel === '-' : isName(channel)
  if (parts === null || !isName(product) || !hasChannel || !Number.isSafeInteger(Number(number))) {
    throw new ManifestError(
      'MAN_LOG_ENTRY',
      `Cannot read entry of the log of releases: ${bytes.length} bytes of another form`,
    )
  }
  return { type: type as LogEntry['type'], product, channel, number: Number(number), sha256 }
}

/** Members of a head that change with every renewal. */
const RENEWED = new Set(['sequence', 'issued_at', 'expires_at', 'log', 'roles_version'])

/**
 * What a head offers, as one hash: of its payload without the members that a renewal changes, in canonical JSON.
 *
 * @param payload - Literal payload of a verified head.
 */
export function offerDigest(payload: Uint8Array): string {
  const members = parseStrictJson(payload, { maxBytes: limits.headBytes, maxDepth: limits.jsonDepth })
  if (!isRecord(members)) throw new ManifestError('MAN_SCHEMA', 'Cannot read head: the top level is not an object')
  const kept = Object.fromEntries(Object.entries(members as JsonObject).filter(([name]) => !RENEWED.has(name)))
  return sha256Hex(utf8Encode(canonicalJson(kept)))
}
