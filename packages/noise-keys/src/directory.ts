import type { TransportIdentity } from './identity.ts'
import type { SignedPacket } from './pkarr/signed-packet.ts'

/** Everything found about an identity. Nothing of it is trusted yet. */
export interface PublishedKeys {
  /** Text of each device's record. */
  readonly records: ReadonlyMap<string, string>
  /** The key list's file. */
  readonly list?: Uint8Array
  /** The pkarr packet; its signature has been checked. */
  readonly packet?: SignedPacket
}

/** How to look. */
export interface ReadOptions {
  /** Ask past every cache: before a key is trusted for the first time, and on any doubt. */
  readonly fresh?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Where keys are published and found: a pkarr relay, a folder, memory, or several of them. */
export interface KeyDirectory {
  readonly name: string
  /** @throws {@link NoiseKeysError} `NK_UNREACHABLE` when nothing can be said; nothing published is an empty answer. */
  read(identity: TransportIdentity, options?: ReadOptions): Promise<PublishedKeys>
  /** Does nothing where the directory has no such files. */
  putRecord(identity: TransportIdentity, device: string, text: string): Promise<void>
  putList(identity: TransportIdentity, bytes: Uint8Array): Promise<void>
  /** @throws {@link NoiseKeysError} `NK_CONFLICT` when a more recent one is there. */
  putPacket(identity: TransportIdentity, packet: SignedPacket): Promise<void>
}
