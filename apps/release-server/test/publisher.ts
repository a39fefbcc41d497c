import { sha256DigestSeal } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import {
  addHeadSignature,
  buildManifest,
  formatTime,
  manifestPin,
  signHead,
  signManifest,
  writeHead,
  writeManifest,
  writeRoles,
} from '@keyturn/manifest/publish'
import {
  sha256Hex,
  concatBytes,
  ed25519PublicKey,
  ed25519Sign,
  hexEncode,
  sha256,
  utf8Encode,
} from '@keyturn/primitives'
import { ChunkIndexer, chunkParamsFor, writeChunkIndex } from '@keyturn/manifest/delta'
import type { Head, ManifestPin, ReleaseManifest, RoleDocument } from '@keyturn/manifest'
import type { DocumentSigner } from '@keyturn/manifest/publish'
import { blobFromBytes } from '@keyturn/release-client'
import type { BlobSource, ReleaseServerClient } from '@keyturn/release-client'

export const day = 86_400_000

export function seedOf(name: string): Uint8Array {
  return sha256(utf8Encode(`server test key ${name}`))
}

export function keyId(name: string): string {
  return hexEncode(ed25519PublicKey(seedOf(name)))
}

export function signerOf(name: string): DocumentSigner {
  const seed = seedOf(name)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

/** The chunk index of a file. */
export function indexOf(bytes: Uint8Array): Uint8Array {
  const params = chunkParamsFor(bytes.length)
  if (params === undefined) throw new RangeError('A file without index')
  return writeChunkIndex(new ChunkIndexer(params).update(bytes).finish())
}

function referenceTo({ sha256, size }: BlobSource): { sha256: string; size: number; chunks: number; params: number } {
  return { sha256, size, chunks: (size - 52) / 36, params: 1 }
}

export interface MadeRelease {
  readonly model: ReleaseManifest
  readonly manifest: Uint8Array
  readonly signatures: Uint8Array
  readonly pin: ManifestPin
  readonly blobs: readonly BlobSource[]
}

/** A publisher with an identity and keys by name, as the command line would be. */
export class TestPublisher {
  readonly events: SignedEvent[] = []
  readonly rolesBytes: Uint8Array[] = []
  roles: RoleDocument
  now: number
  headSequence = 0
  turn = 0
  readonly #sequences = new Map<string, number>()

  readonly product: string

  private constructor(now: number, product: string) {
    this.product = product
    this.now = now
    this.roles = {
      product,
      version: 1,
      epoch: 1,
      issuedAt: formatTime(now),
      expiresAt: formatTime(now + 365 * day),
      roles: { release: { keys: [keyId('release 1')], threshold: 1 }, head: { keys: [keyId('head 1')], threshold: 1 } },
      revokedKeys: [],
      transport: [],
    }
  }

  static async create(options: { now?: number; product?: string; transport?: string[] } = {}): Promise<TestPublisher> {
    const publisher = new TestPublisher(
      Math.floor((options.now ?? Date.now()) / 1000) * 1000,
      options.product ?? 'metin2',
    )
    publisher.roles = { ...publisher.roles, transport: options.transport ?? [] }
    const bytes = writeRoles(publisher.roles)
    publisher.events.push(
      await incept(
        {
          keys: [ed25519PublicKey(seedOf('identity 0'))],
          nextKeys: [ed25519PublicKey(seedOf('identity 1'))],
          traits: ['EO'],
          seals: [sha256DigestSeal(bytes)],
        },
        seedSigner([seedOf('identity 0')]),
      ),
    )
    publisher.rolesBytes.push(bytes)
    return publisher
  }

  get log(): Uint8Array {
    return concatBytes(...this.events.map((event) => event.message))
  }

  get pin(): string {
    const [first] = this.events
    return `did:keri:${first?.prefix}?sn=0&said=${first?.said}`
  }

  /** Rotates the identity, sealing a changed role document. */
  async rotate(change: (roles: RoleDocument) => Partial<RoleDocument>): Promise<Uint8Array> {
    this.roles = { ...this.roles, version: this.roles.version + 1, ...change(this.roles) }
    const bytes = writeRoles(this.roles)
    this.rolesBytes.push(bytes)
    this.turn += 1
    const last = this.events.at(-1) as SignedEvent
    this.events.push(
      await rotate(
        last.state,
        {
          keys: [ed25519PublicKey(seedOf(`identity ${this.turn}`))],
          nextKeys: [ed25519PublicKey(seedOf(`identity ${this.turn + 1}`))],
          seals: [sha256DigestSeal(bytes)],
        },
        seedSigner([seedOf(`identity ${this.turn}`)]),
      ),
    )
    return bytes
  }

  async release(
    files: Readonly<Record<string, Uint8Array>>,
    options: {
      channel?: string
      signers?: string[]
      sequence?: number
      version?: string
      contentKeys?: ReleaseManifest['contentKeys']
      trustRoot?: string
      /** The version that it goes back to. */
      rollbackOf?: string
      /** Chunk indexes for all files. */
      indexed?: boolean
    } = {},
  ): Promise<MadeRelease> {
    const channel = options.channel ?? 'stable'
    const sequence = options.sequence ?? (this.#sequences.get(channel) ?? 0) + 1
    this.#sequences.set(channel, sequence)
    const contents = Object.entries(files).map(([path, bytes]) => ({
      path,
      blob: blobFromBytes(bytes),
      index: options.indexed === true ? blobFromBytes(indexOf(bytes)) : undefined,
    }))
    const launcher = blobFromBytes(utf8Encode('the launcher'))
    const model = buildManifest(
      contents.map(({ path, blob, index }) => ({
        path,
        sha256: blob.sha256,
        size: blob.size,
        ...(index === undefined ? {} : { index: referenceTo(index) }),
      })),
      {
        version: options.version ?? `2026.11.21-${sequence}`,
        nowMs: this.now,
        format: 'm2pack',
        launcher: { path: 'Launcher.exe', sha256: launcher.sha256, size: launcher.size },
        release: {
          product: this.product,
          rollbackOf: options.rollbackOf,
          channel,
          epoch: this.roles.epoch,
          rolesVersion: this.roles.version,
          contentKeys: options.contentKeys ?? [],
          sequence,
          ...(options.trustRoot === undefined ? {} : { trustRoot: options.trustRoot }),
        },
      },
    )
    const manifest = writeManifest(model)
    const signatures = await signManifest(manifest, (options.signers ?? ['release 1']).map(signerOf))
    return {
      model,
      manifest,
      signatures,
      pin: manifestPin(model, sha256Hex(manifest), manifest.length),
      blobs: [...contents.flatMap(({ blob, index }) => (index === undefined ? [blob] : [blob, index])), launcher],
    }
  }

  async head(
    release: MadeRelease,
    options: { signers?: string[]; edit?: (head: Head) => Head; sequence?: number } = {},
  ): Promise<Uint8Array> {
    const last = this.events.at(-1) as SignedEvent
    this.headSequence = options.sequence ?? this.headSequence + 1
    const head: Head = {
      product: this.product,
      channel: release.model.channel ?? 'stable',
      epoch: this.roles.epoch,
      sequence: this.headSequence,
      issuedAt: formatTime(this.now),
      expiresAt: formatTime(this.now + 7 * day),
      log: { sn: last.sn, said: last.said },
      rolesVersion: this.roles.version,
      manifest: release.pin,
      revoked: [],
      mirrors: [],
    }
    const [first = 'head 1', ...others] = options.signers ?? ['head 1']
    const envelope = await signHead(writeHead(options.edit?.(head) ?? head), [signerOf(first)])
    return others.length === 0 ? envelope : addHeadSignature(envelope, others.map(signerOf))
  }

  /** Product, roles and log on the server. */
  async introduce(client: ReleaseServerClient): Promise<void> {
    await client.createProduct({ slug: this.product, pin: this.pin })
    await client.putRoles(this.product, 1, this.rolesBytes[0] as Uint8Array)
    await client.putLog(this.product, this.log)
  }

  /** The whole walk of one release. */
  async publish(client: ReleaseServerClient, release: MadeRelease, head?: Uint8Array): Promise<void> {
    await client.uploadMissing(release.blobs)
    await client.createRelease(this.product, release)
    await client.publish(this.product, release.model.channel ?? 'stable', {
      version: release.model.version,
      head: head ?? (await this.head(release)),
    })
  }
}
