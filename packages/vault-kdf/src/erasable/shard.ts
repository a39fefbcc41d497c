import {
  PrimitivesError,
  base64Decode,
  base64Encode,
  canonicalJson,
  equalBytes,
  hexEncode,
  hkdfSha256,
  hmacSha256,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { labels } from '../labels.ts'
import { lengthPrefixed } from '../length-prefixed.ts'
import { KEY_BYTES, MAX_KEY_VERSION, MAX_PARTITION_SHARD_BYTES } from '../limits.ts'
import { WRAPPED_SECRET_BYTES } from './secret.ts'

/** The secret of one partition, wrapped; once destroyed, only the fact and the time of it. */
export type PartitionEntry =
  | { readonly madeAt: number; readonly keyVersion: number; readonly wrapped: Uint8Array }
  | { readonly madeAt: number; readonly erasedAt: number }

/** One of the 256 documents of partition secrets. Immutable; changes make a new one. */
export interface PartitionShard {
  readonly vaultId: string
  /** Two hex digits: the first byte of the digests in it. */
  readonly shard: string
  /** By digest of the partition, 32 hex digits. */
  readonly entries: ReadonlyMap<string, PartitionEntry>
}

const FORMAT = 'keyturn-partitions-1'
const DIGEST = /^[0-9a-f]{32}$/

/** Whether a partition was erased. */
export function isErased(entry: PartitionEntry): entry is Extract<PartitionEntry, { erasedAt: number }> {
  return 'erasedAt' in entry
}

/** Partitions of a shard that were erased: this number never goes down. */
export function countErased(shard: PartitionShard): number {
  let count = 0
  for (const entry of shard.entries.values()) if (isErased(entry)) count += 1
  return count
}

/** Name of a shard among the documents of a store. */
export const shardDocumentName = (shard: string): string => `partition-secrets-${shard}`

/** The names of all shards, `00` to `ff`. */
export const shardNames: readonly string[] = Array.from({ length: 256 }, (_, index) =>
  index.toString(16).padStart(2, '0'),
)

/** The keys by which shards name their partitions and are protected: of the audit secret, so no rotation moves them. */
export interface ShardKeys {
  readonly digest: Uint8Array
  readonly mac: Uint8Array
}

/** @param auditSecret - Used for derivation here and now; not kept. The caller wipes the keys. */
export function deriveShardKeys(auditSecret: Uint8Array): ShardKeys {
  const derive = (label: string): Uint8Array =>
    hkdfSha256(auditSecret, new Uint8Array(0), lengthPrefixed(label), KEY_BYTES)
  return { digest: derive(labels.partitionDigest), mac: derive(labels.partitionMac) }
}

/** The digest a partition is named by: what is left after an erasure does not tell whose it was. */
export function digestPartition(keys: ShardKeys, partition: string): string {
  const mac = hmacSha256(keys.digest, lengthPrefixed(labels.partitionDigest, partition))
  const digest = hexEncode(mac.subarray(0, 16))
  wipe(mac)
  return digest
}

/** Writes a shard: canonical JSON with a MAC. */
export function writeShard(shard: PartitionShard, keys: ShardKeys): Uint8Array {
  const body = toJson(shard)
  return utf8Encode(canonicalJson({ ...body, mac: base64Encode(macOf(body, keys)) }))
}

function macOf(body: JsonObject, keys: ShardKeys): Uint8Array {
  return hmacSha256(keys.mac, lengthPrefixed(labels.partitionMac, canonicalJson(body)))
}

function toJson({ vaultId, shard, entries }: PartitionShard): JsonObject {
  const partitions: Record<string, JsonObject> = {}
  for (const [digest, entry] of entries) {
    partitions[digest] = isErased(entry)
      ? { made_at: entry.madeAt, erased_at: entry.erasedAt }
      : { made_at: entry.madeAt, key_version: entry.keyVersion, wrapped: base64Encode(entry.wrapped) }
  }
  return { format: FORMAT, vault_id: vaultId, shard, partitions }
}

/**
 * Parses a shard and checks its MAC, and that it is the one asked for.
 *
 * @throws VaultError `VK_PARTITION_SECRET`.
 */
export function readShard(
  bytes: Uint8Array,
  expected: Pick<PartitionShard, 'vaultId' | 'shard'>,
  keys: ShardKeys,
): PartitionShard {
  try {
    const { mac, ...body } = object(parseStrictJson(bytes, { maxBytes: MAX_PARTITION_SHARD_BYTES }))
    if (typeof mac !== 'string' || !equalBytes(base64Decode(mac), macOf(body, keys))) throw damaged('MAC')
    if (body['format'] !== FORMAT) throw damaged('format')
    if (body['vault_id'] !== expected.vaultId || body['shard'] !== expected.shard) throw damaged('place')
    const entries = Object.entries(object(body['partitions'])).map(([digest, entry]) => {
      if (!DIGEST.test(digest) || !digest.startsWith(expected.shard)) throw damaged('digest')
      return [digest, entryFromJson(object(entry))] as const
    })
    return { ...expected, entries: new Map(entries) }
  } catch (error) {
    if (!(error instanceof PrimitivesError)) throw error
    throw new VaultError('VK_PARTITION_SECRET', 'Cannot read the partition secrets', { cause: error })
  }
}

function entryFromJson(entry: JsonObject): PartitionEntry {
  const madeAt = integer(entry, 'made_at', Number.MAX_SAFE_INTEGER)
  if (entry['erased_at'] !== undefined) {
    if (entry['wrapped'] !== undefined) throw damaged('erased_at')
    return { madeAt, erasedAt: integer(entry, 'erased_at', Number.MAX_SAFE_INTEGER) }
  }
  const wrapped = typeof entry['wrapped'] === 'string' ? base64Decode(entry['wrapped']) : new Uint8Array(0)
  if (wrapped.length !== WRAPPED_SECRET_BYTES) throw damaged('wrapped')
  return { madeAt, keyVersion: integer(entry, 'key_version', MAX_KEY_VERSION), wrapped }
}

function damaged(field: string): VaultError {
  return new VaultError('VK_PARTITION_SECRET', `Cannot read the partition secrets: their ${field} is wrong`, {
    details: { field },
  })
}

function object(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged('shape')
  return value
}

function integer(from: JsonObject, field: string, max: number): number {
  const value = from[field]
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw damaged(field)
  return value
}
