import {
  canonicalJson,
  equalBytes,
  hexDecode,
  hexEncode,
  hkdfSha256,
  hmacSha256,
  parseStrictJson,
  sha256,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { labels } from '../labels.ts'
import { lengthPrefixed } from '../length-prefixed.ts'
import { KEY_BYTES } from '../limits.ts'
import type { RecordId } from '../place.ts'

/** What happened. */
export type AuditType =
  | 'traverse'
  | 'reseal'
  | 'remove'
  | 'open_failed'
  | 'legacy_opened'
  | 'compromised_read'
  | 'key_staged'
  | 'key_activated'
  | 'key_demoted'
  | 'key_suspended'
  | 'key_resumed'
  | 'key_compromised'
  | 'key_quarantined'
  | 'key_restored'
  | 'key_destroyed'
  | 'key_rewrapped'
  | 'legacy_master_added'
  | 'partition_made_erasable'
  | 'partition_erased'
  | 'partition_secrets_rewrapped'
  | 'sweep_started'
  | 'sweep_progress'
  | 'sweep_finished'
  | 'policy_changed'
  | 'chain_linked'
  | 'checkpoint'

/** `intent` is written before a key event takes effect, `done` after it; a lone intent is a change that was cut off. */
export type AuditOutcome = 'intent' | 'done' | 'failed'

/** What a caller reports. */
export interface AuditEvent {
  readonly type: AuditType
  readonly outcome: AuditOutcome
  /** Who, in the words of the application; default empty. */
  readonly actor?: string
  readonly partition?: string
  readonly cell?: string
  /** Where a traversal went. */
  readonly toPartition?: string
  readonly toCell?: string
  /** Only a keyed digest of it is kept. */
  readonly name?: string
  readonly layer?: number
  readonly fromVersion?: number
  readonly toVersion?: number
  /** Facts of the type; no secrets. */
  readonly details?: JsonObject
}

/** One link of the chain. */
export interface AuditRecord {
  /** From 1, without gaps. */
  readonly seq: number
  /** Nanoseconds since 1970, decimal. */
  readonly time: string
  readonly type: AuditType
  readonly outcome: AuditOutcome
  readonly actor: string
  readonly partition: string
  readonly cell: string
  readonly toPartition: string
  readonly toCell: string
  /** 32 hex digits, or empty. */
  readonly nameDigest: string
  readonly layer: number | undefined
  readonly fromVersion: number | undefined
  readonly toVersion: number | undefined
  readonly details: JsonObject
  /** SHA-256 over the previous hash and every field above, 64 hex digits. */
  readonly hash: string
  /** HMAC over the hash under the audit key, 64 hex digits. */
  readonly mac: string
}

/** The hash before the first record. */
export const genesisHash = '0'.repeat(64)

/** The key of the MACs: from a secret of its own, so that a destroyed master does not take the proof with it. */
export function deriveAuditKey(auditSecret: Uint8Array): Uint8Array {
  return hkdfSha256(auditSecret, new Uint8Array(0), lengthPrefixed(labels.auditMac), KEY_BYTES)
}

/** Digest of a record's name: the same name gives the same digest, and nobody without the key can guess it. */
export function digestName(auditKey: Uint8Array, id: RecordId): string {
  return hexEncode(
    hmacSha256(auditKey, lengthPrefixed(labels.auditName, id.partition, id.cell, id.name)).subarray(0, 16),
  )
}

const optional = (value: number | undefined): string => (value === undefined ? '' : String(value))

/** Hash of a record: every field behind its length, so that no shift between fields goes unseen. */
export function hashRecord(previousHash: string, record: Omit<AuditRecord, 'hash' | 'mac'>): string {
  return hexEncode(
    sha256(
      lengthPrefixed(
        labels.auditRecord,
        hexDecode(previousHash),
        String(record.seq),
        record.time,
        record.type,
        record.outcome,
        record.actor,
        record.partition,
        record.cell,
        record.toPartition,
        record.toCell,
        record.nameDigest,
        optional(record.layer),
        optional(record.fromVersion),
        optional(record.toVersion),
        canonicalJson(record.details),
      ),
    ),
  )
}

/** Makes the record of an event behind the last one. */
export function linkRecord(
  event: AuditEvent,
  last: AuditRecord | undefined,
  timeNs: bigint,
  auditKey: Uint8Array,
): AuditRecord {
  const { partition = '', cell = '', name } = event
  const fields = {
    seq: (last?.seq ?? 0) + 1,
    time: String(timeNs),
    type: event.type,
    outcome: event.outcome,
    actor: event.actor ?? '',
    partition,
    cell,
    toPartition: event.toPartition ?? '',
    toCell: event.toCell ?? '',
    nameDigest: name === undefined ? '' : digestName(auditKey, { partition, cell, name }),
    layer: event.layer,
    fromVersion: event.fromVersion,
    toVersion: event.toVersion,
    details: event.details ?? {},
  }
  const hash = hashRecord(last?.hash ?? genesisHash, fields)
  return { ...fields, hash, mac: macOf(auditKey, hash) }
}

function macOf(auditKey: Uint8Array, hash: string): string {
  return hexEncode(hmacSha256(auditKey, lengthPrefixed(labels.auditMac, hexDecode(hash))))
}

/** Whether the MAC of a record holds. */
export function macHolds(record: AuditRecord, auditKey: Uint8Array): boolean {
  return equalBytes(utf8Encode(record.mac), utf8Encode(macOf(auditKey, record.hash)))
}

/** A record as one line of canonical JSON, without the line end. */
export function writeAuditRecord(record: AuditRecord): string {
  const { nameDigest, toPartition, toCell, fromVersion, toVersion, layer, ...plain } = record
  return canonicalJson({
    ...plain,
    name_digest: nameDigest,
    to_partition: toPartition,
    to_cell: toCell,
    ...(layer === undefined ? {} : { layer }),
    ...(fromVersion === undefined ? {} : { from_version: fromVersion }),
    ...(toVersion === undefined ? {} : { to_version: toVersion }),
  })
}

/**
 * Parses a line of {@link writeAuditRecord}. Shape only.
 *
 * @throws VaultError `VK_AUDIT_BROKEN`.
 */
export function parseAuditRecord(line: Uint8Array): AuditRecord {
  let json: JsonValue
  try {
    json = parseStrictJson(line)
  } catch (cause) {
    throw new VaultError('VK_AUDIT_BROKEN', 'Cannot read audit record: it is not a line of JSON', { cause })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw broken('shape')
  const { details } = json
  if (typeof details !== 'object' || details === null || Array.isArray(details)) throw broken('details')
  return {
    seq: integer(json, 'seq') ?? 0,
    time: text(json, 'time'),
    type: text(json, 'type') as AuditType, // an unknown type is a later version's; its hash still holds
    outcome: text(json, 'outcome') as AuditOutcome,
    actor: text(json, 'actor'),
    partition: text(json, 'partition'),
    cell: text(json, 'cell'),
    toPartition: text(json, 'to_partition'),
    toCell: text(json, 'to_cell'),
    nameDigest: text(json, 'name_digest'),
    layer: integer(json, 'layer'),
    fromVersion: integer(json, 'from_version'),
    toVersion: integer(json, 'to_version'),
    details,
    hash: digest(json, 'hash'),
    mac: digest(json, 'mac'),
  }
}

function broken(field: string): VaultError {
  return new VaultError('VK_AUDIT_BROKEN', `Cannot read audit record: its ${field} is wrong`, { details: { field } })
}

function text(from: JsonObject, field: string): string {
  const value = from[field]
  if (typeof value !== 'string') throw broken(field)
  return value
}

function digest(from: JsonObject, field: string): string {
  const value = text(from, field)
  if (!/^[0-9a-f]{64}$/.test(value)) throw broken(field)
  return value
}

function integer(from: JsonObject, field: string): number | undefined {
  const value = from[field]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || value < 0) throw broken(field)
  return value
}
