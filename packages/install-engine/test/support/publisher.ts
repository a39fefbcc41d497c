import { createHash } from 'node:crypto'
import { sha256DigestSeal } from '@keyturn/kel'
import { incept, interact, rotate, seedSigner } from '@keyturn/kel/owner'
import type { Seal } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel/owner'
import { ChunkIndexer, chunkParamsFor, writeChunkIndex } from '@keyturn/manifest/delta'
import {
  buildManifest,
  formatTime,
  manifestPin,
  signHead,
  signManifest,
  writeHead,
  writeManifest,
  writeRoles,
} from '@keyturn/manifest/publish'
import type { ContentKey, Head, IndexReference, ManifestPin, ReleaseManifest, RoleDocument } from '@keyturn/manifest'
import type { BuildManifestOptions, DocumentSigner, ManifestEntry, ReleasePlace } from '@keyturn/manifest/publish'
import { concatBytes, ed25519PublicKey, ed25519Sign, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import { keyCommitment, RuntimeKey, writeRuntimeKeyJson } from '@keyturn/runtime-key'

export const NOW = Date.parse('2026-11-21T00:00:00Z')
export const DAY = 24 * 60 * 60 * 1000

export function seedOf(name: string): Uint8Array {
  return sha256(utf8Encode(`test key ${name}`))
}

export function keyId(name: string): string {
  return hexEncode(ed25519PublicKey(seedOf(name)))
}

export function signerOf(name: string): DocumentSigner {
  const seed = seedOf(name)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Bytes that look random and are the same in every run. */
export function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let x = seed | 1
  for (let at = 0; at < length; at++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    bytes[at] = x
  }
  return bytes
}

/** What a release server serves: addresses without the first slash. */
export type Tree = Map<string, Uint8Array>

export type TestFile =
  | Uint8Array
  | string
  | (Partial<Omit<ManifestEntry, 'path' | 'sha256' | 'size'>> & { bytes: Uint8Array })
export type TestFiles = Readonly<Record<string, TestFile>>

export interface ReleaseOptions {
  readonly version?: string
  readonly signers?: readonly string[]
  readonly headSigners?: readonly string[]
  readonly format?: string
  readonly channel?: string
  readonly nowMs?: number
  readonly place?: Partial<ReleasePlace>
  readonly build?: Partial<BuildManifestOptions>
  readonly head?: (head: Head) => Head
  readonly index?: boolean
}

export interface MadeRelease {
  readonly model: ReleaseManifest
  readonly bytes: Uint8Array
  readonly signatures: Uint8Array
  readonly pin: ManifestPin
  readonly files: ReadonlyMap<string, Uint8Array>
}

/** A content key, as a sidecar file and as the manifest lists it. */
export function contentKey(id: number): { json: Uint8Array; entry: ContentKey; hex: string } {
  const make = (): RuntimeKey =>
    RuntimeKey.take({
      keyId: id,
      masterKey: Uint8Array.from(sha256(utf8Encode(`content ${id}`))),
      signPublicKey: ed25519PublicKey(seedOf(`archive ${id}`)),
    })
  const key = make()
  return {
    json: writeRuntimeKeyJson(key),
    hex: hexEncode(sha256(utf8Encode(`content ${id}`))),
    entry: {
      keyId: id,
      verifierPub: keyId(`archive ${id}`),
      commitment: hexEncode(keyCommitment(key)),
      status: 'active',
    },
  }
}

function toFile(file: TestFile): Exclude<TestFile, string | Uint8Array> {
  if (typeof file === 'string') return { bytes: utf8Encode(file) }
  return file instanceof Uint8Array ? { bytes: file } : file
}

/** A publisher with an identity, and the tree its server serves; everything but the clock is fixed by names. */
export class Publisher {
  readonly tree: Tree = new Map()
  readonly events: SignedEvent[] = []
  roles: RoleDocument
  turn = 0
  headSequence = 0
  manifestSequence = 0
  nowMs: number
  last: MadeRelease | undefined

  private constructor(nowMs: number) {
    this.nowMs = nowMs
    this.roles = {
      product: 'metin2',
      version: 1,
      epoch: 1,
      issuedAt: formatTime(nowMs),
      expiresAt: formatTime(nowMs + 365 * DAY),
      roles: { release: { keys: [keyId('release 1')], threshold: 1 }, head: { keys: [keyId('head 1')], threshold: 1 } },
      revokedKeys: [],
      transport: [],
    }
  }

  /** @param nowMs - The time of the first role document; default the fixed one of the tests. */
  static async create(nowMs: number = NOW): Promise<Publisher> {
    const publisher = new Publisher(nowMs)
    const bytes = writeRoles(publisher.roles)
    publisher.#append(
      await incept(
        {
          keys: [ed25519PublicKey(seedOf('identity 0'))],
          nextKeys: [ed25519PublicKey(seedOf('identity 1'))],
          nextThreshold: 1,
          traits: ['EO'],
          seals: [sha256DigestSeal(bytes)],
        },
        seedSigner([seedOf('identity 0')]),
      ),
    )
    publisher.tree.set('roles/1.json', bytes)
    return publisher
  }

  #append(event: SignedEvent): void {
    this.events.push(event)
    this.tree.set(`kel/${event.prefix}.cesr`, concatBytes(...this.events.map(({ message }) => message)))
  }

  get trust(): string {
    const [event] = this.events as [SignedEvent]
    return `did:keri:${event.prefix}?sn=${event.sn}&said=${event.said}`
  }

  /** Rotates the identity; with a change, seals the next role document. */
  async rotate(change?: (roles: RoleDocument) => Partial<RoleDocument>, seals?: readonly Seal[]): Promise<void> {
    if (change !== undefined) {
      this.roles = { ...this.roles, version: this.roles.version + 1, ...change(this.roles) }
      this.tree.set(`roles/${this.roles.version}.json`, writeRoles(this.roles))
    }
    this.turn += 1
    const sealed = sha256DigestSeal(this.tree.get(`roles/${this.roles.version}.json`) as Uint8Array)
    this.#append(
      await rotate(
        (this.events.at(-1) as SignedEvent).state,
        {
          keys: [ed25519PublicKey(seedOf(`identity ${this.turn}`))],
          threshold: 1,
          nextKeys: [ed25519PublicKey(seedOf(`identity ${this.turn + 1}`))],
          seals: seals ?? [sealed],
        },
        seedSigner([seedOf(`identity ${this.turn}`)]),
      ),
    )
  }

  async interact(seals: readonly Seal[]): Promise<void> {
    this.#append(
      await interact((this.events.at(-1) as SignedEvent).state, seals, seedSigner([seedOf(`identity ${this.turn}`)])),
    )
  }

  #put(bytes: Uint8Array): string {
    const hash = sha256Hex(bytes)
    this.tree.set(`files/${hash.slice(0, 2)}/${hash}`, bytes)
    return hash
  }

  #index(bytes: Uint8Array): IndexReference | undefined {
    const params = chunkParamsFor(bytes.length)
    if (params === undefined) return undefined
    const indexer = new ChunkIndexer(params, [])
    indexer.update(bytes)
    const index = indexer.finish()
    const encoded = writeChunkIndex(index)
    return { sha256: this.#put(encoded), size: encoded.length, chunks: index.lengths.length, params: params.id }
  }

  /** Makes, signs and serves a release. */
  async release(files: TestFiles, options: ReleaseOptions = {}): Promise<MadeRelease> {
    const sequence = options.place?.sequence ?? ++this.manifestSequence
    const contents = new Map<string, Uint8Array>()
    const entries: ManifestEntry[] = Object.entries(files).map(([path, file]) => {
      const { bytes, ...rest } = toFile(file)
      contents.set(path, bytes)
      const index = options.index === false ? undefined : this.#index(bytes)
      return { path, sha256: this.#put(bytes), size: bytes.length, ...rest, ...(index === undefined ? {} : { index }) }
    })
    const model = buildManifest(entries, {
      version: options.version ?? `2026.11.21-${sequence}`,
      nowMs: options.nowMs ?? this.nowMs,
      format: options.format ?? 'legacy-json-blob',
      notes: `Notes of ${sequence}`,
      ...options.build,
      release: {
        product: 'metin2',
        channel: options.channel ?? 'stable',
        epoch: this.roles.epoch,
        rolesVersion: this.roles.version,
        ...options.place,
        sequence,
      },
    })
    const bytes = writeManifest(model)
    const signatures = await signManifest(bytes, (options.signers ?? ['release 1']).map(signerOf))
    const made = { model, bytes, signatures, files: contents, pin: manifestPin(model, sha256Hex(bytes), bytes.length) }
    this.last = made
    this.serve(made)
    await this.head(made, options)
    return made
  }

  /** Puts a manifest where the server has it. */
  serve(made: MadeRelease): void {
    const stem = `channels/${made.model.channel ?? 'stable'}/manifests/${made.model.version}`
    this.tree.set(`${stem}.json`, made.bytes)
    this.tree.set(`${stem}.sigs.json`, made.signatures)
  }

  /** Signs the same bytes again, and serves the new signatures. */
  async resign(made: MadeRelease, signers: readonly string[]): Promise<MadeRelease> {
    const again = { ...made, signatures: await signManifest(made.bytes, signers.map(signerOf)) }
    this.serve(again)
    return again
  }

  /** Makes and serves a head. */
  async head(made: MadeRelease, options: Pick<ReleaseOptions, 'head' | 'headSigners' | 'nowMs'> = {}): Promise<void> {
    const nowMs = options.nowMs ?? this.nowMs
    const establishment = this.events.findLast(({ state }) => state.type !== 'ixn') as SignedEvent
    const channel = made.model.channel ?? 'stable'
    const head: Head = {
      product: 'metin2',
      channel,
      epoch: this.roles.epoch,
      sequence: ++this.headSequence,
      issuedAt: formatTime(nowMs),
      expiresAt: formatTime(nowMs + 7 * DAY),
      log: { sn: establishment.sn, said: establishment.said },
      rolesVersion: this.roles.version,
      manifest: made.pin,
      revoked: [],
      mirrors: [],
    }
    this.tree.set(
      `channels/${channel}/head.json`,
      await signHead(writeHead(options.head?.(head) ?? head), (options.headSigners ?? ['head 1']).map(signerOf)),
    )
  }
}
