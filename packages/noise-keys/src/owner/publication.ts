import { base64Decode, ed25519PublicKey, hexDecode, hexEncode, sha256 } from '@keyturn/primitives'
import { ANCHOR_DNS_NAME, recordDnsName } from '../device-id.ts'
import type { KeyDirectory } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import { parseIdentityName } from '../identity.ts'
import { formatAnchor, recordSha256, signKeyList, verifyKeyList } from '../key-list.ts'
import type { KeyList, KeyListEntry } from '../key-list.ts'
import type { OwnKey, TransportMetadata } from './metadata.ts'
import { encodeDnsPacket, MAX_DNS_PACKET_BYTES, txtRecord } from '../pkarr/dns.ts'
import type { DnsRecord } from '../pkarr/dns.ts'
import { signPacket, verifyPacket, relayPayload } from '../pkarr/signed-packet.ts'
import type { SignedPacket } from '../pkarr/signed-packet.ts'
import { LIST_LIFE_S, recordExpiry } from './planner.ts'
import { signKeyRecord, verifyKeyRecord } from '../record-signature.ts'
import type { UnsignedKeyRecord } from '../record-signature.ts'
import { parseKeyRecord } from '../record.ts'
import type { KeyState } from '../record.ts'
import { dropOldTombstones, nextKey } from './key-states.ts'

/** A record to be signed, spelled out. */
export interface RecordDraft extends Omit<UnsignedKeyRecord, 'publicKey' | 'nextKeySha256'> {
  readonly device: string
  /** Padded base64. */
  readonly publicKey: string
  /** From when the key is active, for the list. */
  readonly activeFromS: number
  /** SHA-256 of the key announced next, hex: a commitment beforehand. */
  readonly nextKeySha256?: string
}

/** Everything one signing session is about: records, list and packet, as they will be published together. */
export interface Publication {
  readonly identity: string
  /** Unix seconds at which it is meant to be published. */
  readonly atS: number
  readonly records: readonly RecordDraft[]
  /** The list without its entries, which follow from the records. */
  readonly list: Omit<KeyList, 'identity' | 'entries'>
  readonly packetTimestampUs: string
  readonly ttlS: number
  /** DNS records of others in the same packet: name, type, TTL and data in hex. */
  readonly otherDns: readonly {
    readonly name: string
    readonly type: number
    readonly ttlS: number
    readonly rdata: string
  }[]
}

/** A publication with its signatures. */
export interface SignedPublication {
  readonly identity: string
  readonly atS: number
  readonly records: ReadonlyMap<string, string>
  readonly list: Uint8Array
  readonly packet: SignedPacket
}

/** Short, as a key just turned must not hide behind caches. */
export const NOISE_TTL_S = 300

/**
 * Drafts what the metadata says is to be published: every key that is not retired, with sequences one higher.
 *
 * @param current - The packet that is there, whose other records are kept.
 */
export function draftPublication(metadata: TransportMetadata, nowS: number, current?: SignedPacket): Publication {
  const keys = metadata.keys.filter(({ state }) => state !== 'planned' && state !== 'retired')
  const nowUs = BigInt(nowS) * 1_000_000n
  const floors = [nowUs, BigInt(metadata.packetUs ?? '0') + 1n, (current?.timestampUs ?? -1n) + 1n]
  return {
    identity: metadata.identity,
    atS: nowS,
    records: keys.map((key) => draftRecord(key, metadata, nowS)),
    list: {
      seq: (metadata.list?.seq ?? 0) + 1,
      ts: nowS,
      exp: nowS + LIST_LIFE_S,
      prev: metadata.list?.sha256 ?? null,
      tombstones: dropOldTombstones(metadata.tombstones, nowS),
    },
    packetTimestampUs: String(floors.reduce((most, floor) => (floor > most ? floor : most))),
    ttlS: NOISE_TTL_S,
    otherDns: (current?.records ?? [])
      .filter(({ name }) => !isOurs(name))
      .map((record) => ({ ...record, rdata: hexEncode(record.rdata) })),
  }
}

function draftRecord(key: OwnKey, metadata: TransportMetadata, nowS: number): RecordDraft {
  const state = key.state as KeyState
  const next = nextKey(metadata)
  return {
    device: key.device,
    publicKey: key.publicKey,
    timestampS: nowS,
    sequence: key.sequence + 1,
    expiresS: recordExpiry(key, metadata.policy, nowS),
    state,
    activeFromS: key.activeFromS ?? key.createdAtS,
    ...(state === 'active' && next !== undefined
      ? { nextKeySha256: hexEncode(sha256(base64Decode(next.publicKey))) }
      : {}),
    ...(state === 'retiring' ? { retiringUntilS: key.retiringUntilS ?? nowS } : {}),
    ...(state === 'retiring' || state === 'revoked' ? { reason: key.reason ?? 'unspecified' } : {}),
  }
}

/**
 * Signs a publication with the cold key.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified.
 * @throws {@link NoiseKeysError} `NK_IDENTITY` when the seed is another identity's, `NK_DNS_SIZE`, `NK_RECORD`.
 */
export function signPublication(seed: Uint8Array, publication: Publication): SignedPublication {
  const identity = parseIdentityName(publication.identity)
  if (!/^[1-9][0-9]{0,17}$/.test(publication.packetTimestampUs))
    throw new NoiseKeysError('NK_RECORD', 'Cannot sign: the packet timestamp is not a number of microseconds')
  if (hexEncode(ed25519PublicKey(seed)) !== hexEncode(identity.publicKey)) {
    throw new NoiseKeysError('NK_IDENTITY', 'The seed belongs to another transport identity than the publication')
  }
  const records = new Map(
    publication.records.map(({ device, publicKey, activeFromS: _from, nextKeySha256, ...draft }) => {
      const next = nextKeySha256 === undefined ? {} : { nextKeySha256: hexDecode(nextKeySha256) }
      return [device, signKeyRecord(seed, device, { ...draft, ...next, publicKey: base64Decode(publicKey) })] as const
    }),
  )
  const entries = publication.records.flatMap((draft) => entryOf(draft, records.get(draft.device) ?? ''))
  const list = signKeyList(seed, { ...publication.list, identity: identity.name, entries })
  const anchor = txtRecord(
    ANCHOR_DNS_NAME,
    formatAnchor({ seq: publication.list.seq, listSha256: sha256(list), ts: publication.list.ts }),
    publication.ttlS,
  )
  const others = publication.otherDns.map(({ rdata, ...record }) => ({ ...record, rdata: hexDecode(rdata) }))
  const dns = withRecordsThatFit(identity.name, [...others, anchor], publication, records)
  return {
    identity: identity.name,
    atS: publication.atS,
    records,
    list,
    packet: signPacket(seed, BigInt(publication.packetTimestampUs), dns),
  }
}

function entryOf(draft: RecordDraft, text: string): KeyListEntry[] {
  if (draft.state === 'revoked') return []
  const until = draft.state === 'retiring' ? { until: draft.retiringUntilS ?? draft.timestampS } : {}
  return [
    {
      device: draft.device,
      k: draft.publicKey,
      state: draft.state,
      from: draft.activeFromS,
      record: recordSha256(text),
      ...until,
    },
  ]
}

/** The most useful first: readers who have nothing but a relay want the active key. */
const IN_PACKET: readonly KeyState[] = ['active', 'retiring', 'revoked', 'next']

/** Puts whole records into the packet as long as they fit; the list, behind the anchor, has them all. */
function withRecordsThatFit(
  origin: string,
  base: readonly DnsRecord[],
  publication: Publication,
  records: ReadonlyMap<string, string>,
): DnsRecord[] {
  const dns = [...base]
  const drafts = [...publication.records].sort((a, b) => IN_PACKET.indexOf(a.state) - IN_PACKET.indexOf(b.state))
  encodeDnsPacket(origin, dns)
  for (const { device } of drafts) {
    const record = txtRecord(recordDnsName(device), records.get(device) ?? '', publication.ttlS)
    if (sizeOf(origin, [...dns, record]) <= MAX_DNS_PACKET_BYTES) dns.push(record)
  }
  return dns
}

function sizeOf(origin: string, records: readonly DnsRecord[]): number {
  try {
    return encodeDnsPacket(origin, records).length
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

function isOurs(name: string): boolean {
  return name === ANCHOR_DNS_NAME || name.startsWith(`${ANCHOR_DNS_NAME}.`)
}

/**
 * Checks a signed publication, as it comes back from an offline machine for instance, as any reader would.
 *
 * @throws {@link NoiseKeysError} `NK_BINDING_SIGNATURE`, `NK_RECORD`.
 */
export function verifyPublication({ identity, records, list, packet }: SignedPublication): void {
  const { publicKey } = parseIdentityName(identity)
  for (const [device, text] of records) verifyKeyRecord(parseKeyRecord(text), { identity: publicKey, deviceId: device })
  verifyKeyList(publicKey, list)
  verifyPacket(publicKey, relayPayload(packet))
}

/**
 * Publishes in the order that never leaves a reader worse off: files, then list, then packet; for a revocation the
 * packet first, since it spreads fastest.
 */
export async function publish(
  directory: KeyDirectory,
  signed: SignedPublication,
  order: 'turn' | 'revocation' = 'turn',
): Promise<void> {
  verifyPublication(signed)
  const identity = parseIdentityName(signed.identity)
  const files = async (): Promise<void> => {
    for (const [device, text] of signed.records) await directory.putRecord(identity, device, text)
    await directory.putList(identity, signed.list)
  }
  if (order === 'turn') await files()
  await directory.putPacket(identity, signed.packet)
  if (order === 'revocation') await files()
}

/**
 * The metadata after a publication went out: sequences, hashes, dates and states as published. A publication that was
 * signed beforehand so brings its own cut-over and retirement with it.
 */
export function afterPublication(metadata: TransportMetadata, signed: SignedPublication): TransportMetadata {
  const { list, sha256: hash } = verifyKeyList(parseIdentityName(signed.identity).publicKey, signed.list)
  const keys = metadata.keys.map((key) => afterRecord(key, signed, list))
  const activeBefore = metadata.keys.find(({ state }) => state === 'active')?.device
  const activeNow = keys.find(({ state }) => state === 'active')?.device
  const turned = activeBefore !== undefined && activeNow !== undefined && activeBefore !== activeNow
  return {
    ...metadata,
    keys,
    tombstones: list.tombstones,
    list: { seq: list.seq, sha256: hexEncode(hash) },
    packetUs: String(signed.packet.timestampUs),
    ...(turned ? { lastRotatedS: signed.atS, rotationCount: metadata.rotationCount + 1 } : {}),
  }
}

function afterRecord(key: OwnKey, signed: SignedPublication, list: KeyList): OwnKey {
  const text = signed.records.get(key.device)
  const record = text === undefined ? undefined : parseKeyRecord(text)
  if (text === undefined || record?.format !== 'stateful') {
    const why = list.tombstones.find(({ k }) => k === key.publicKey)?.why
    return why === undefined ? key : { ...key, state: why === 'retired' ? 'retired' : 'revoked', reason: why }
  }
  const { retiringUntilS: _until, reason: _reason, ...rest } = key
  const from = list.entries.find(({ device }) => device === key.device)?.from
  return {
    ...rest,
    state: record.state,
    sequence: record.sequence,
    record: text,
    publishedAtS: signed.atS,
    ...(from === undefined ? {} : { activeFromS: from }),
    ...(record.retiringUntilS === undefined ? {} : { retiringUntilS: record.retiringUntilS }),
    ...(record.reason === undefined ? {} : { reason: record.reason }),
  }
}
