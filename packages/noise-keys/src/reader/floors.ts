import { base64Encode, hexEncode, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { recordSha256 } from '../key-list.ts'
import type { VerifiedKeyList } from '../key-list.ts'
import type { ParsedKeyRecord, RevocationReason } from '../record.ts'

/** Two documents signed under one number: proof that the signer, or a holder of its key, tells two stories. */
export interface EquivocationEvidence {
  readonly what: 'record' | 'list'
  readonly identity: string
  readonly device?: string
  readonly sequence: number
  /** Text of both, as received. */
  readonly documents: readonly [string, string]
}

/** What a reader remembers of one identity. */
export interface IdentityFloor {
  /** A record with state was seen: plain ones are refused from then on. */
  signedSeen: boolean
  /** By device: highest sequence, and the record that had it. */
  devices: Record<string, { sequence: number; text: string }>
  list?: { sequence: number; sha256: string }
  /** Timestamp of the newest packet, microseconds, decimal. */
  packetUs?: string
  /** Keys that were revoked, for good, by base64. */
  revoked: Record<string, { why: RevocationReason | 'flag'; at: number }>
  /** By key, the smallest date ever seen on a plain record: a moved date makes no key younger. */
  firstSeen: Record<string, number>
  /** What was accepted last, by device, and when. */
  validated?: { atS: number; keys: Record<string, { k: string; until?: number }> }
}

const VERSION = 1

/** What a reader must never go below, kept across restarts. docs/spec/noise-keys.md §5 */
export class KeyFloors {
  readonly #identities: Map<string, IdentityFloor>

  constructor(identities: ReadonlyMap<string, IdentityFloor> = new Map()) {
    this.#identities = new Map(identities)
  }

  /** @throws {@link NoiseKeysError} `NK_METADATA`: a reader without its floors would accept old documents. */
  static parse(bytes: Uint8Array): KeyFloors {
    try {
      const value = parseStrictJson(bytes) as unknown as { version: number; identities: Record<string, IdentityFloor> }
      if (value.version !== VERSION) throw new RangeError(`version is not ${VERSION}`)
      return new KeyFloors(new Map(Object.entries(value.identities).map(([name, floor]) => [name, copyFloor(floor)])))
    } catch (cause) {
      throw new NoiseKeysError('NK_METADATA', 'Cannot read the rollback floors: the file is damaged', { cause })
    }
  }

  /** The file {@link KeyFloors.parse} reads. */
  format(): Uint8Array {
    return utf8Encode(
      `${JSON.stringify({ version: VERSION, identities: Object.fromEntries(this.#identities) }, null, 2)}\n`,
    )
  }

  /** The floor of an identity; an empty one is made. */
  of(identity: string): IdentityFloor {
    const floor = this.#identities.get(identity) ?? { signedSeen: false, devices: {}, revoked: {}, firstSeen: {} }
    this.#identities.set(identity, floor)
    return floor
  }

  /**
   * Raises the floor by a verified record.
   *
   * @throws {@link NoiseKeysError} `NK_ROLLBACK`, `NK_EQUIVOCATION` (the evidence is its cause), `NK_DOWNGRADE`.
   */
  observeRecord(identity: string, device: string, record: ParsedKeyRecord): void {
    const floor = this.of(identity)
    const key = base64Encode(record.publicKey)
    if (record.format === 'plain') {
      // First: a flag nobody signed must not be able to revoke the key of an identity that signs its states.
      if (floor.signedSeen)
        throw new NoiseKeysError('NK_DOWNGRADE', 'A plain record came from an identity that signs its records')
      if (record.revoked) floor.revoked[key] ??= { why: 'flag', at: record.timestampS ?? 0 }
      const date = record.timestampS ?? 0
      floor.firstSeen[key] = Math.min(floor.firstSeen[key] ?? date, date)
      return
    }
    floor.signedSeen = true
    const known = Object.hasOwn(floor.devices, device) ? floor.devices[device] : undefined
    if (known !== undefined && record.sequence < known.sequence) {
      throw new NoiseKeysError(
        'NK_ROLLBACK',
        `Record ${record.sequence} is older than ${known.sequence}, which was seen before`,
      )
    }
    if (known?.sequence === record.sequence && known.text !== record.text) {
      const evidence: EquivocationEvidence = {
        what: 'record',
        identity,
        device,
        sequence: record.sequence,
        documents: [known.text, record.text],
      }
      throw new NoiseKeysError('NK_EQUIVOCATION', `Two different records have sequence ${record.sequence}`, {
        cause: evidence,
      })
    }
    floor.devices[device] = { sequence: record.sequence, text: record.text }
    if (record.state === 'revoked') floor.revoked[key] = { why: record.reason ?? 'unspecified', at: record.timestampS }
  }

  /** Raises the floor by a verified list. @throws {@link NoiseKeysError} `NK_ROLLBACK`, `NK_EQUIVOCATION`. */
  observeList(identity: string, { list, sha256, bytes }: VerifiedKeyList): void {
    const floor = this.of(identity)
    const hash = hexEncode(sha256)
    if (floor.list !== undefined && list.seq < floor.list.sequence) {
      throw new NoiseKeysError(
        'NK_ROLLBACK',
        `Key list ${list.seq} is older than ${floor.list.sequence}, which was seen before`,
      )
    }
    if (floor.list?.sequence === list.seq && floor.list.sha256 !== hash) {
      const evidence: EquivocationEvidence = {
        what: 'list',
        identity,
        sequence: list.seq,
        documents: [floor.list.sha256, new TextDecoder().decode(bytes)],
      }
      throw new NoiseKeysError('NK_EQUIVOCATION', `Two different key lists have number ${list.seq}`, {
        cause: evidence,
      })
    }
    floor.list = { sequence: list.seq, sha256: hash }
    // `retired` is an end in good order; the others are never to be trusted again. Both are remembered.
    for (const { k, why, at } of list.tombstones) floor.revoked[k] ??= { why, at }
  }

  /** Raises the floor by a verified packet. @throws {@link NoiseKeysError} `NK_ROLLBACK`. */
  observePacket(identity: string, timestampUs: bigint): void {
    const floor = this.of(identity)
    if (floor.packetUs !== undefined && timestampUs < BigInt(floor.packetUs)) {
      throw new NoiseKeysError('NK_ROLLBACK', 'The packet is older than one that was seen before')
    }
    floor.packetUs = String(timestampUs)
  }
}

/** Copies into objects of our own, so that a device called `constructor` is just a name. */
function copyFloor(floor: IdentityFloor): IdentityFloor {
  if (typeof floor.signedSeen !== 'boolean') throw new RangeError('signedSeen is missing')
  return { ...floor, devices: { ...floor.devices }, revoked: { ...floor.revoked }, firstSeen: { ...floor.firstSeen } }
}

/** Whether two texts are one record. */
export function isSameRecord(text: string, sha256Hex: string): boolean {
  return recordSha256(text) === sha256Hex
}
