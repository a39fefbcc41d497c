import { sha256DigestSeal } from '@keyturn/kel'
import { incept, interact, rotate, seedSigner } from '@keyturn/kel/owner'
import type { Seal } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel/owner'
import {
  concatBytes,
  ed25519PublicKey,
  ed25519Sign,
  hexEncode,
  sha256,
  utf8Encode,
  sha256Hex,
} from '@keyturn/primitives'
import { initialTrustState, parseTrustRoot } from '../../src/index.ts'
import {
  buildManifest,
  formatTime,
  manifestPin,
  signHead,
  signManifest,
  writeHead,
  writeManifest,
  writeRoles,
} from '../../src/publish/index.ts'
import type {
  Head,
  ManifestPin,
  ReleaseInput,
  ReleaseManifest,
  RoleDocument,
  TrustState,
  VerifyOptions,
} from '../../src/index.ts'
import type { DocumentSigner, ManifestEntry, ReleasePlace } from '../../src/publish/index.ts'

export const NOW = Date.parse('2026-11-21T00:00:00Z')
export const DAY = 24 * 60 * 60 * 1000

/** Keys by name: the same name is the same key in every run. */
export function seedOf(name: string): Uint8Array {
  return sha256(utf8Encode(`test key ${name}`))
}

export function publicKeyOf(name: string): Uint8Array {
  return ed25519PublicKey(seedOf(name))
}

export function keyId(name: string): string {
  return hexEncode(publicKeyOf(name))
}

export function signerOf(name: string): DocumentSigner {
  const seed = seedOf(name)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

/** A manifest with everything that goes with it. */
export interface MadeManifest {
  readonly model: ReleaseManifest
  readonly bytes: Uint8Array
  readonly signatures: Uint8Array
  readonly pin: ManifestPin
}

export interface MakeManifestOptions {
  readonly signers?: readonly string[]
  readonly entries?: readonly ManifestEntry[]
  readonly version?: string
  readonly nowMs?: number
  readonly format?: string
  readonly notes?: string
  readonly minLauncherVersion?: string
  readonly place?: Partial<ReleasePlace>
  readonly channel?: string
  readonly edit?: (model: ReleaseManifest) => ReleaseManifest
}

export interface MakeHeadOptions {
  readonly signers?: readonly string[]
  readonly nowMs?: number
  readonly edit?: (head: Head) => Head
}

export interface PublisherOptions {
  readonly product?: string
  readonly release?: readonly string[]
  readonly releaseThreshold?: number
  readonly head?: readonly string[]
  readonly headThreshold?: number
  readonly identity?: string
  readonly establishmentOnly?: boolean
  readonly headDays?: number
  readonly nextKeys?: readonly string[]
  readonly nextThreshold?: number
}

export const FILES: readonly ManifestEntry[] = [
  { path: 'Metin2.exe', sha256: sha256Hex(utf8Encode('exe')), size: 3, platform: 'windows' },
  { path: 'config/locale.cfg', sha256: sha256Hex(utf8Encode('locale')), size: 6 },
  { path: 'pack/root.m2p', sha256: sha256Hex(utf8Encode('archive')), size: 7, keyId: 1 },
]

export const CONTENT_KEYS = [
  { keyId: 1, verifierPub: 'aa'.repeat(32), commitment: 'bb'.repeat(32), status: 'active' as const },
]

/** A publisher with an identity, its log, role documents, manifests and heads, all deterministic. */
export class Publisher {
  readonly product: string
  readonly name: string
  readonly messages: Uint8Array[] = []
  readonly events: SignedEvent[] = []
  readonly rolesBytes: Uint8Array[] = []
  roles: RoleDocument
  turn = 0
  headSequence = 0
  manifestSequence = 0
  #nextThreshold: number
  #nextNames: readonly string[]

  private constructor(options: PublisherOptions) {
    this.product = options.product ?? 'metin2'
    this.name = options.identity ?? 'identity'
    this.#nextThreshold = options.nextThreshold ?? 1
    this.#nextNames = options.nextKeys ?? [`${this.name} 1`]
    this.roles = {
      product: this.product,
      version: 1,
      epoch: 1,
      issuedAt: formatTime(NOW),
      expiresAt: formatTime(NOW + 365 * DAY),
      roles: {
        release: { keys: (options.release ?? ['release 1']).map(keyId), threshold: options.releaseThreshold ?? 1 },
        head: { keys: (options.head ?? ['head 1']).map(keyId), threshold: options.headThreshold ?? 1 },
      },
      revokedKeys: [],
      transport: [],
      ...(options.headDays === undefined ? {} : { headDays: options.headDays }),
    }
  }

  static async create(options: PublisherOptions = {}): Promise<Publisher> {
    const publisher = new Publisher(options)
    const bytes = writeRoles(publisher.roles)
    const event = await incept(
      {
        keys: [publicKeyOf(`${publisher.name} 0`)],
        nextKeys: publisher.#nextNames.map(publicKeyOf),
        nextThreshold: publisher.#nextThreshold,
        traits: options.establishmentOnly === false ? [] : ['EO'],
        seals: [sha256DigestSeal(bytes)],
      },
      seedSigner([seedOf(`${publisher.name} 0`)]),
    )
    publisher.#append(event)
    publisher.rolesBytes.push(bytes)
    return publisher
  }

  #append(event: SignedEvent): void {
    this.events.push(event)
    this.messages.push(event.message)
  }

  get last(): SignedEvent {
    return this.events.at(-1) as SignedEvent
  }

  /** The whole log, or its first events. */
  log(count = this.messages.length): Uint8Array {
    return concatBytes(...this.messages.slice(0, count))
  }

  pin(sn = 0): string {
    const event = this.events[sn] as SignedEvent
    return `did:keri:${event.prefix}?sn=${event.sn}&said=${event.said}`
  }

  state(sn = 0): TrustState {
    return initialTrustState(parseTrustRoot(this.pin(sn)))
  }

  /** Rotates the identity; with a change, seals the next role document, else the same one again. */
  async rotate(change?: (roles: RoleDocument) => Partial<RoleDocument>, seals?: readonly Seal[]): Promise<void> {
    if (change !== undefined) {
      this.roles = { ...this.roles, version: this.roles.version + 1, ...change(this.roles) }
      this.rolesBytes.push(writeRoles(this.roles))
    }
    this.turn += 1
    const next = [`${this.name} ${this.turn + 1}`]
    const event = await rotate(
      this.last.state,
      {
        keys: this.#nextNames.map(publicKeyOf),
        threshold: this.#nextThreshold,
        nextKeys: next.map(publicKeyOf),
        seals: seals ?? [sha256DigestSeal(this.rolesBytes.at(-1) as Uint8Array)],
      },
      seedSigner(this.#nextNames.map(seedOf)),
    )
    this.#nextNames = next
    this.#nextThreshold = 1
    this.#append(event)
  }

  /** An interaction event signed by the current key. */
  async interact(seals: readonly Seal[]): Promise<void> {
    this.#append(await interact(this.last.state, seals, seedSigner([seedOf(`${this.name} ${this.turn}`)])))
  }

  async manifest(options: MakeManifestOptions = {}): Promise<MadeManifest> {
    const nowMs = options.nowMs ?? NOW
    const sequence = options.place?.sequence ?? ++this.manifestSequence
    const built = buildManifest(options.entries ?? FILES, {
      version: options.version ?? `2026.11.21-${sequence}`,
      nowMs,
      format: options.format ?? 'm2pack',
      ...(options.notes !== undefined && { notes: options.notes }),
      ...(options.minLauncherVersion !== undefined && { minLauncherVersion: options.minLauncherVersion }),
      launcher: { path: 'Metin2Launcher.exe', sha256: sha256Hex(utf8Encode('launcher')), size: 8 },
      release: {
        product: this.product,
        channel: options.channel ?? 'stable',
        epoch: this.roles.epoch,
        rolesVersion: this.roles.version,
        contentKeys: CONTENT_KEYS,
        ...options.place,
        sequence,
      },
    })
    const model = options.edit?.(built) ?? built
    return this.seal(writeManifest(model), model, options.signers)
  }

  /** Signs literal bytes as a manifest. */
  async seal(
    bytes: Uint8Array,
    model: ReleaseManifest,
    signers: readonly string[] = ['release 1'],
  ): Promise<MadeManifest> {
    const signatures = await signManifest(bytes, signers.map(signerOf))
    return { model, bytes, signatures, pin: manifestPin(model, sha256Hex(bytes), bytes.length) }
  }

  async head(manifest: MadeManifest, options: MakeHeadOptions = {}): Promise<Uint8Array> {
    const nowMs = options.nowMs ?? NOW
    const establishment = this.events.findLast(({ state }) => state.type !== 'ixn') as SignedEvent
    const head: Head = {
      product: this.product,
      channel: manifest.model.channel ?? 'stable',
      epoch: this.roles.epoch,
      sequence: ++this.headSequence,
      issuedAt: formatTime(nowMs),
      expiresAt: formatTime(nowMs + 7 * DAY),
      log: { sn: establishment.sn, said: establishment.said },
      rolesVersion: this.roles.version,
      manifest: manifest.pin,
      revoked: [],
      mirrors: [],
    }
    return signHead(writeHead(options.edit?.(head) ?? head), (options.signers ?? ['head 1']).map(signerOf))
  }

  /** All documents of one release, in force now. */
  input(
    manifest: MadeManifest,
    head: Uint8Array,
  ): Required<Pick<ReleaseInput, 'logs' | 'roles' | 'head' | 'manifest' | 'signatures'>> {
    return {
      logs: [this.log()],
      roles: this.rolesBytes.at(-1) as Uint8Array,
      head,
      manifest: manifest.bytes,
      signatures: manifest.signatures,
    }
  }

  async release(
    manifestOptions?: MakeManifestOptions,
    headOptions?: MakeHeadOptions,
  ): Promise<ReturnType<Publisher['input']> & { made: MadeManifest }> {
    const made = await this.manifest(manifestOptions)
    return { ...this.input(made, await this.head(made, headOptions)), made }
  }
}

export function options(change: Partial<VerifyOptions> = {}): VerifyOptions {
  return { channel: 'stable', product: 'metin2', nowMs: NOW, ...change }
}
