import { base64Decode, sha256, utf8Encode } from '@keyturn/primitives'
import { createTransportIdentity, memoryDirectory } from '../src/index.ts'
import {
  addKey,
  afterPublication,
  cutOver,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  nextDeviceId,
  publish,
  retire,
  revoke,
  signPublication,
  transportPublicKey,
  activeKey,
} from '../src/owner/index.ts'
import { KeyFloors, lookUpKeys } from '../src/reader/index.ts'
import type { KeyDirectory, RevocationReason } from '../src/index.ts'
import type { RotationPolicy, TransportMetadata } from '../src/owner/index.ts'
import type { KeyVerdict, ReaderPolicy } from '../src/reader/index.ts'

export const DAY_S = 86_400
export const START_S = 1_800_000_000

/** An owner with a clock, a directory and everything a turn needs. */
export class Publisher {
  readonly seed = sha256(utf8Encode('cold identity'))
  readonly identity = createTransportIdentity(() => this.seed.slice() as Uint8Array<ArrayBuffer>)
  readonly directory: KeyDirectory
  metadata: TransportMetadata
  nowS = START_S

  constructor(directory: KeyDirectory = memoryDirectory(), policy: Partial<RotationPolicy> = {}) {
    this.directory = directory
    this.metadata = emptyMetadata(this.identity.name, policy)
  }

  add(device: string): void {
    const publicKey = transportPublicKey(deriveX25519Static(this.seed, device))
    this.metadata = addKey(this.metadata, { device, publicKey, generation: 'G2' }, this.nowS)
  }

  announce(): void {
    this.add(nextDeviceId(this.metadata, activeKey(this.metadata)?.device ?? 'server'))
  }

  cutOver(): void {
    this.metadata = cutOver(this.metadata, this.nowS)
  }

  retire(): string[] {
    const { metadata, retired } = retire(this.metadata, this.nowS)
    this.metadata = metadata
    return retired.map(({ device }) => device)
  }

  revoke(device: string, reason: RevocationReason = 'compromise'): void {
    this.metadata = revoke(this.metadata, device, reason, this.nowS)
  }

  async publish(order: 'turn' | 'revocation' = 'turn'): Promise<void> {
    const { packet } = await this.directory.read(this.identity)
    const signed = signPublication(this.seed, draftPublication(this.metadata, this.nowS, packet))
    await publish(this.directory, signed, order)
    this.metadata = afterPublication(this.metadata, signed)
  }
}

/** A peer with floors of its own. */
export class Peer {
  readonly floors = new KeyFloors()

  look(
    publisher: Publisher,
    policy: Partial<ReaderPolicy> = {},
    directory: KeyDirectory = publisher.directory,
  ): Promise<KeyVerdict[]> {
    return lookUpKeys(directory, publisher.identity, this.floors, { nowS: publisher.nowS, policy })
  }
}

/** Device and verdict, as tests compare them. */
export function summary(verdicts: readonly KeyVerdict[]): string[] {
  return verdicts.map(({ device, verdict, code }) => `${device}: ${verdict}${code === undefined ? '' : ` ${code}`}`)
}

/** Public key of a device in the metadata. */
export function publicKeyOf({ metadata }: Publisher, device: string): Uint8Array {
  return base64Decode(metadata.keys.find((key) => key.device === device)?.publicKey ?? '')
}
