import { requireMembers, systemClock, wipe } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import type { KeyDirectory } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import type { TransportIdentity } from '../identity.ts'
import type { RevocationReason } from '../record.ts'
import { deriveTransportSecret, recoverTransportSecret } from './own-secret.ts'
import { transportPublicKey } from './derive.ts'
import { emptyMetadata, formatMetadata, parseMetadata } from './metadata.ts'
import type { OwnKey, TransportMetadata } from './metadata.ts'
import { planRotation } from './planner.ts'
import type { PlanAction } from './planner.ts'
import type { RotationPolicy } from './policy.ts'
import { afterPublication, draftPublication, publish, signPublication } from './publication.ts'
import { activeKey, addKey, cutOver, nextDeviceId, nextKey, retire, revoke } from './key-states.ts'

/** What a {@link Publisher} works with. */
export interface PublisherOptions {
  readonly identity: TransportIdentity
  /** Where the keys are published. */
  readonly directory: KeyDirectory
  /** Lends the 32-byte seed of the identity for the length of one call; the publisher neither keeps nor changes it. */
  readonly withSeed: <T>(use: (seed: Uint8Array) => T | Promise<T>) => T | Promise<T>
  /** What `store` was given last; undefined the first time. */
  readonly stored?: Uint8Array | undefined
  /** Keeps what the owner must remember, durably: called before anything is published. Public facts only. */
  readonly store: (metadata: Uint8Array) => void | Promise<void>
  /** Name of the first key; the ones after it are numbered. Default `server`. */
  readonly device?: string | undefined
  /** For a new identity. Default: a rotation every 90 days. */
  readonly policy?: Partial<RotationPolicy> | undefined
  /** Default: the system's. */
  readonly clock?: Clock | undefined
}

/** What {@link Publisher.announce} and {@link Publisher.revoke} did. */
export interface Announcement {
  /** The key that answers from now on. */
  readonly active: OwnKey
  /** What was due, in order; empty when the same keys were published again with a later date. */
  readonly done: readonly ('first' | 'revoke' | PlanAction)[]
  /** Keys whose secrets answer nobody any more. */
  readonly ended: readonly OwnKey[]
}

/**
 * The owner's side of a transport identity in two calls: `announce()`, made at least once a day, publishes the first
 * key and does whatever is due after that; `revoke()` answers a stolen key. Not for two processes at once.
 */
export class Publisher {
  readonly #options: PublisherOptions
  #metadata: TransportMetadata

  /** @throws {@link NoiseKeysError} `NK_METADATA` when what was stored is damaged, or of another identity. */
  constructor(options: PublisherOptions) {
    requireMembers(options, 'options', ['identity', 'directory', 'withSeed', 'store'])
    const { identity, stored, policy } = options
    this.#options = options
    this.#metadata = stored === undefined ? emptyMetadata(identity.name, policy) : parseMetadata(stored)
    if (this.#metadata.identity !== identity.name)
      throw new NoiseKeysError('NK_METADATA', `The stored keys are of ${this.#metadata.identity}`)
  }

  /** What is known of the keys. */
  get metadata(): TransportMetadata {
    return this.#metadata
  }

  get #nowS(): number {
    return Math.floor((this.#options.clock ?? systemClock)() / 1000)
  }

  /**
   * Publishes the keys as they should be now: the first one, the next one ahead of its time, the change to it, the end
   * of the old one. A call that failed is made again; what readers see never goes back.
   *
   * @throws what the directory throws; {@link NoiseKeysError}.
   */
  async announce(): Promise<Announcement> {
    const done: Announcement['done'][number][] = []
    const ended: OwnKey[] = []
    if (activeKey(this.#metadata) === undefined) {
      await this.#takeOver()
      done.push('first')
    }
    const due = planRotation(this.#metadata, undefined, this.#nowS).steps.filter((step) => step.due)
    for (const { action } of due) if (await this.#act(action, ended)) done.push(action)
    return await this.#publish('turn', { done, ended })
  }

  /**
   * Revokes a key at once; if it was the active one, the announced key takes its place, or a fresh one.
   *
   * @param device - Which; default: the active one.
   * @throws what the directory throws; {@link NoiseKeysError} `NK_METADATA` when there is no such key.
   */
  async revoke(reason: RevocationReason, device = activeKey(this.#metadata)?.device): Promise<Announcement> {
    const target = this.#metadata.keys.find((key) => key.device === device)
    if (device === undefined || target === undefined)
      throw new NoiseKeysError('NK_METADATA', `There is no key "${device ?? ''}" to revoke`)
    this.#metadata = revoke(this.#metadata, device, reason, this.#nowS)
    if (activeKey(this.#metadata) === undefined) await this.#takeOver()
    return await this.#publish('revocation', { done: ['revoke'], ended: [target] })
  }

  /**
   * Lends the secret of a key, to answer peers with. Its bytes are wiped when `use` has ended: a key pair for later
   * needs a copy.
   *
   * @param device - Which; default: the active one. Those that are retiring answer too.
   * @throws {@link NoiseKeysError} `NK_METADATA` when there is no such key, or it was revoked or retired.
   * @example `const staticKey = await publisher.withSecret((secret) => noiseKeyPair(dh, secret.slice()))`
   */
  async withSecret<T>(use: (secret: Uint8Array) => T | Promise<T>, device?: string): Promise<T> {
    const key = this.#metadata.keys.find((one) =>
      device === undefined ? one.state === 'active' : one.device === device,
    )
    if (key === undefined || key.state === 'revoked' || key.state === 'retired')
      throw new NoiseKeysError('NK_METADATA', `Key "${device ?? 'active'}" answers nobody`)
    const secret = await this.#options.withSeed((seed) => recoverTransportSecret(seed, key))
    try {
      return await use(secret)
    } finally {
      wipe(secret)
    }
  }

  async #act(action: PlanAction, ended: OwnKey[]): Promise<boolean> {
    if (action === 'announce-next') await this.#add()
    else if (action === 'cut-over' && nextKey(this.#metadata) !== undefined)
      this.#metadata = cutOver(this.#metadata, this.#nowS)
    else if (action === 'retire') {
      const { metadata, retired } = retire(this.#metadata, this.#nowS)
      this.#metadata = metadata
      ended.push(...retired)
    } else return action === 'refresh'
    return true
  }

  /** The announced key becomes active, or a fresh one. */
  async #takeOver(): Promise<void> {
    if (nextKey(this.#metadata) === undefined) await this.#add()
    else this.#metadata = cutOver(this.#metadata, this.#nowS)
  }

  async #add(): Promise<void> {
    const { device: first = 'server', withSeed } = this.#options
    const last = this.#metadata.keys.at(-1)?.device
    const device = last === undefined ? first : nextDeviceId(this.#metadata, last)
    const generation = 'G2' as const
    const publicKey = await withSeed((seed) => {
      const secret = deriveTransportSecret(seed, { generation, device })
      try {
        return transportPublicKey(secret)
      } finally {
        wipe(secret)
      }
    })
    this.#metadata = addKey(this.#metadata, { device, publicKey, generation }, this.#nowS)
  }

  async #publish(order: 'turn' | 'revocation', result: Omit<Announcement, 'active'>): Promise<Announcement> {
    const { identity, directory, withSeed, store } = this.#options
    const { packet } = await directory.read(identity)
    const draft = draftPublication(this.#metadata, this.#nowS, packet)
    const signed = await withSeed((seed) => signPublication(seed, draft))
    this.#metadata = afterPublication(this.#metadata, signed)
    // Before it is published: a number that readers may have seen is never given to something else.
    await store(formatMetadata(this.#metadata))
    await publish(directory, signed, order)
    return { active: activeKey(this.#metadata) as OwnKey, ...result }
  }
}
