// Long because it is one list: each method is one call of the management API, with its documentation.
import { base64Encode, sha256, hexEncode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type {
  ChannelAccessView,
  ChannelView,
  NewProduct,
  NewRelease,
  Page,
  ProductChange,
  ProductView,
  Publication,
  ReleaseCheckView,
  ReleaseDiffView,
  ReleaseView,
  StatsView,
  StorageView,
} from './api.ts'
import { ServerError } from './errors.ts'
import { API_LIMITS } from './limits.ts'
import { checkRelease } from './check-release.ts'
import type { CheckReleaseOptions } from './check-release.ts'
import { HttpCaller, queryText } from './http.ts'
import type { ReleaseServerClientOptions } from './http.ts'
import { BlobCalls } from './blob-calls.ts'
import { readBounded } from './read-bounded.ts'
import type { BlobSource } from './blob-source.ts'

/** New signatures of a release. */
export interface RenewedSignatures {
  /** Literal bytes of `manifest.sigs.json`. */
  readonly signatures: Uint8Array
  /** 64 raw bytes of `manifest.json.sig` for the original launcher; default: the stored one stays. */
  readonly legacySignature?: Uint8Array | undefined
}

const segment = encodeURIComponent

/** A blob source over bytes in memory. */
export function blobFromBytes(bytes: Uint8Array): BlobSource {
  return {
    sha256: hexEncode(sha256(bytes)),
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  }
}

/**
 * Typed client of the management API and the public tree. Each method throws `ProblemError` with the code of the
 * server, or `SRV_NETWORK` when nothing answers.
 */
export class ReleaseServerClient extends BlobCalls {
  readonly #http: HttpCaller

  /** @param url - Address of the server, such as `https://updates.example.org`. */
  constructor(url: string | URL, options: ReleaseServerClientOptions = {}) {
    const http = new HttpCaller(url, options)
    super(http)
    this.#http = http
  }

  /** Where the server is. */
  get server(): URL {
    return this.#http.server
  }

  /** Products this token may see. */
  async listProducts(): Promise<readonly ProductView[]> {
    const page = await this.#http.json<Page<ProductView>>({
      method: 'GET',
      path: '/v1/products',
      what: 'list products',
    })
    return page.items
  }

  /** One product with its trust state; `undefined` when there is none. */
  async getProduct(slug: string): Promise<ProductView | undefined> {
    return this.#http.find({ method: 'GET', path: `/v1/products/${segment(slug)}`, what: `read product "${slug}"` })
  }

  /** Creates a product; the same request again is answered with the stored one. */
  createProduct(product: NewProduct): Promise<ProductView> {
    return this.#http.json({
      method: 'POST',
      path: '/v1/products',
      what: `create product "${product.slug}"`,
      json: product,
    })
  }

  /**
   * Changes a product: its name, default channel, pinned keys, who gets runtime keys, or the root of the public tree.
   */
  changeProduct(slug: string, change: ProductChange): Promise<ProductView> {
    return this.#http.json({
      method: 'PATCH',
      path: `/v1/products/${segment(slug)}`,
      what: `change product "${slug}"`,
      json: change,
    })
  }

  /**
   * Uploads the key event log of a product; it must extend the one the server has. Role documents go first. A log that
   * would leave a channel without valid signatures is refused (`PUB_WOULD_BREAK`): sign again and send everything in
   * one {@link ReleaseServerClient.publish}, or, for a stolen key, use `force`.
   */
  putLog(slug: string, log: Uint8Array, options: { force?: boolean } = {}): Promise<ProductView> {
    return this.#http.json({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/log${options.force === true ? '?force=true' : ''}`,
      what: `upload the key event log of "${slug}"`,
      body: log,
      headers: { 'content-type': 'application/cesr' },
    })
  }

  /** Uploads role document `version`; it becomes public with the log that seals it. */
  async putRoles(slug: string, version: number, roles: Uint8Array): Promise<void> {
    await this.#http.send({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/roles/${version}`,
      what: `upload role document ${version} of "${slug}"`,
      body: roles,
      headers: { 'content-type': 'application/octet-stream' },
    })
  }

  /** Creates an immutable draft; product and channel are those the manifest names. */
  async createRelease(slug: string, release: NewRelease): Promise<ReleaseView> {
    const inline = release.manifest.length <= API_LIMITS.maxInlineManifestBytes
    const blob = blobFromBytes(release.manifest)
    if (!inline) await this.uploadBlob(blob)
    return this.#http.json({
      method: 'POST',
      path: `/v1/products/${segment(slug)}/releases`,
      what: `create a release of "${slug}"`,
      json: {
        ...(inline ? { manifest: base64Encode(release.manifest) } : { manifest_sha256: blob.sha256 }),
        signatures: base64Encode(release.signatures),
        ...(release.legacySignature === undefined ? {} : { legacy_signature: base64Encode(release.legacySignature) }),
        ...authorityJson(release),
      },
    })
  }

  /** Replaces the signatures of a release (same bytes, signed again after a rotation). */
  putSignatures(
    slug: string,
    channel: string,
    version: string,
    { signatures, legacySignature }: RenewedSignatures,
  ): Promise<ReleaseView> {
    return this.#http.json({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/releases/${segment(version)}/signatures`,
      what: `renew the signatures of ${version} on ${channel}`,
      json: {
        signatures: base64Encode(signatures),
        ...(legacySignature === undefined ? {} : { legacy_signature: base64Encode(legacySignature) }),
      },
    })
  }

  /** Makes a head current, with the release it pins; log, roles and signatures may be part of the same step. */
  publish(slug: string, channel: string, publication: Publication): Promise<ChannelView> {
    const { version, head, ifHeadSequence, signatures, log, roles } = publication
    return this.#http.json({
      method: 'POST',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}:publish`,
      what: `publish ${version} on ${channel}`,
      ...(ifHeadSequence === undefined ? {} : { headers: { 'if-match': `"${ifHeadSequence}"` } }),
      json: {
        version,
        head: base64Encode(head),
        ...(signatures === undefined ? {} : { signatures: base64Encode(signatures) }),
        ...authorityJson({ log, roles }),
      },
    })
  }

  /** All channels of a product. */
  async listChannels(slug: string): Promise<readonly ChannelView[]> {
    const page = await this.#http.json<Page<ChannelView>>({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/channels`,
      what: `list channels of "${slug}"`,
    })
    return page.items
  }

  /** One channel; `undefined` when nothing was ever published on it. */
  async getChannel(slug: string, channel: string): Promise<ChannelView | undefined> {
    return this.#http.find({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}`,
      what: `read channel "${channel}" of "${slug}"`,
    })
  }

  /** Whether a channel needs an access code. */
  channelAccess(slug: string, channel: string): Promise<ChannelAccessView> {
    return this.#access('GET', slug, channel)
  }

  /**
   * Protects the documents of a channel with an access code of 8 to 128 printable characters. Blobs stay public by
   * hash.
   */
  protectChannel(slug: string, channel: string, code: string): Promise<ChannelAccessView> {
    return this.#access('PUT', slug, channel, { code })
  }

  /** Lets everybody read a channel again. */
  openChannel(slug: string, channel: string): Promise<ChannelAccessView> {
    return this.#access('DELETE', slug, channel)
  }

  #access(method: string, slug: string, channel: string, json?: object): Promise<ChannelAccessView> {
    return this.#http.json({
      method,
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/access`,
      what: `${method === 'GET' ? 'read' : 'change'} the access code of channel "${channel}"`,
      json,
    })
  }

  /** Releases, newest sequence first; `channel` limits to one channel. */
  listReleases(
    slug: string,
    query: { channel?: string; state?: ReleaseView['state']; limit?: number; cursor?: string } = {},
  ): Promise<Page<ReleaseView>> {
    return this.#http.json({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/releases${queryText(query)}`,
      what: `list releases of "${slug}"`,
    })
  }

  /** One release; `undefined` when there is none of that version on the channel. */
  async getRelease(slug: string, channel: string, version: string): Promise<ReleaseView | undefined> {
    return this.#http.find({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/releases/${segment(version)}`,
      what: `read release ${version}`,
    })
  }

  /**
   * Removes a draft that was never published; its version and sequence are free again.
   *
   * @throws ServerError `PUB_PUBLISHED` for a release that players may have, `SRV_NOT_FOUND`.
   */
  async discardDraft(slug: string, channel: string, version: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/releases/${segment(version)}`,
      what: `discard draft ${version} on ${channel}`,
    })
  }

  /** Files and bytes between two releases of one channel. */
  diffReleases(slug: string, channel: string, from: string, to: string): Promise<ReleaseDiffView> {
    return this.#http.json({
      method: 'GET',
      what: `compare ${from} and ${to}`,
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/releases/${segment(to)}/diff/${segment(from)}`,
    })
  }

  /**
   * Makes the server verify a release: its signatures, and the hashes of its blobs. Waits for the end.
   *
   * @throws ServerError `SRV_UNAVAILABLE` when the check ended early.
   */
  checkRelease(
    slug: string,
    channel: string,
    version: string,
    options: CheckReleaseOptions = {},
  ): Promise<ReleaseCheckView> {
    return checkRelease(this.#http, { slug, channel, version }, options)
  }

  /**
   * Adoption of a product, by day and version.
   *
   * @param since - First day, `2026-11-21`; default: all that is kept, 400 days.
   */
  stats(slug: string, since?: string): Promise<StatsView> {
    return this.#http.json({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/stats${queryText(since === undefined ? {} : { since })}`,
      what: `read the adoption of "${slug}"`,
    })
  }

  /** What the stores of the server hold. */
  storage(): Promise<StorageView> {
    return this.#http.json({ method: 'GET', path: '/v1/storage', what: 'read the state of the storage' })
  }

  /** Keeps a release at any age, or no longer. */
  pinRelease(slug: string, channel: string, version: string, pinned: boolean): Promise<ReleaseView> {
    return this.#http.json({
      method: 'PATCH',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/releases/${segment(version)}`,
      what: `${pinned ? 'pin' : 'unpin'} release ${version}`,
      json: { pinned },
    })
  }

  /**
   * Requests a halt of the rollout; done at once with a head signer, otherwise it waits for a head from the publisher.
   */
  halt(slug: string, channel: string, reason: string): Promise<ChannelView> {
    return this.#http.json({
      method: 'POST',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}:halt`,
      what: `halt channel "${channel}"`,
      json: { reason },
    })
  }

  /** Requests another rollout percentage (or a resume); done at once with a head signer, otherwise it waits. */
  setRollout(
    slug: string,
    channel: string,
    change: { percent?: number; paused?: boolean; reason?: string },
  ): Promise<ChannelView> {
    return this.#http.json({
      method: 'PATCH',
      path: `/v1/products/${segment(slug)}/channels/${segment(channel)}/rollout`,
      what: `change the rollout of "${channel}"`,
      json: change,
    })
  }

  /**
   * Reads a part of a file of the public tree.
   *
   * @param path - Such as `/files/ab/abcd…`.
   * @param offset - First byte.
   * @param length - How many; the file has to be that long.
   * @throws ServerError `SRV_NOT_FOUND`; `SRV_NETWORK` when the answer is not that part.
   */
  async fetchPublicRange(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const last = offset + length - 1
    const what = `fetch bytes ${offset} to ${last} of ${path}`
    const headers = { range: `bytes=${offset}-${last}` }
    const response = await this.#http.send({ method: 'GET', path, what, headers, signal })
    const range = response.headers.get('content-range') ?? ''
    if (response.status !== 206 || !range.startsWith(`bytes ${offset}-${last}/`)) {
      await response.body?.cancel()
      throw new ServerError('SRV_NETWORK', `Cannot ${what}: the server answered with another part of it`)
    }
    const bytes = await readBounded(response, length, what)
    if (bytes.length === length) return bytes
    throw new ServerError('SRV_NETWORK', `Cannot ${what}: the answer has ${bytes.length} bytes, expected ${length}`)
  }

  /**
   * Reads a file of the public tree, such as `/head.json`; `undefined` when there is none.
   *
   * @param options - `maxBytes`: most bytes of the answer; default 64 MiB, below `/files/` the largest blob there may
   *   be.
   */
  async fetchPublic(path: string, options: { maxBytes?: number } = {}): Promise<Uint8Array | undefined> {
    const response = await this.#http.send({ method: 'GET', path, what: `fetch ${path}`, accept: [404] })
    if (response.status === 404) {
      await response.body?.cancel()
      return undefined
    }
    const { maxBytes = path.includes('/files/') ? API_LIMITS.maxBlobBytes : API_LIMITS.maxManifestBytes } = options
    return readBounded(response, maxBytes, `fetch ${path}`)
  }
}

/** A log and role documents that go with something, as JSON. */
function authorityJson({ log, roles }: Pick<NewRelease, 'log' | 'roles'>): JsonObject {
  return {
    ...(log === undefined ? {} : { log: base64Encode(log) }),
    ...(roles === undefined ? {} : { roles: roles.map((document) => base64Encode(document)) }),
  }
}
