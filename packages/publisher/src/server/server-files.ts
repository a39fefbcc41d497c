import { limits } from '@keyturn/manifest'
import { chunkDigest, parseChunkIndex } from '@keyturn/manifest/delta'
import { sha256Hex, createSha256, equalBytes, hexEncode, sha256 } from '@keyturn/primitives'
import type { ManifestFile, ManifestPin } from '@keyturn/manifest'
import type { ChunkIndex } from '@keyturn/manifest/delta'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'

/** Bytes of a large file that are in memory at once. */
const PIECE_BYTES = 8 * 1024 * 1024

/** Public files of one product on a server. What they hold counts only once it is compared with a signed hash. */
export class ServerFiles {
  readonly #client: ReleaseServerClient
  readonly #product: string

  constructor(client: ReleaseServerClient, product: string) {
    this.#client = client
    this.#product = product
  }

  #path(name: string): string {
    return `/p/${this.#product}/${name}`
  }

  #blobPath(sha256: string): string {
    return this.#path(`files/${sha256.slice(0, 2)}/${sha256}`)
  }

  /** The key event log of an identity. */
  log(prefix: string): Promise<Uint8Array | undefined> {
    return this.#client.fetchPublic(this.#path(`kel/${prefix}.cesr`), { maxBytes: limits.logBytes })
  }

  /** A role document. */
  roles(version: number): Promise<Uint8Array | undefined> {
    return this.#client.fetchPublic(this.#path(`roles/${version}.json`), { maxBytes: limits.rolesBytes })
  }

  /** The literal bytes of a manifest, the ones that a head pins; undefined when the server has none, or others. */
  async manifest(channel: string, { version, sha256: expected, length }: ManifestPin): Promise<Uint8Array | undefined> {
    const path = this.#path(`channels/${channel}/manifests/${version}.json`)
    const bytes = await this.#client.fetchPublic(path, { maxBytes: length })
    return bytes !== undefined && sha256Hex(bytes) === expected ? bytes : undefined
  }

  /** The manifest of a version, whatever it says. */
  namedManifest(channel: string, version: string): Promise<Uint8Array | undefined> {
    const path = this.#path(`channels/${channel}/manifests/${version}.json`)
    return this.#client.fetchPublic(path, { maxBytes: limits.manifestBytes })
  }

  /** What is beside a manifest: its signatures, or that of the original launcher. */
  beside(channel: string, version: string, end: 'sigs.json' | 'json.sig'): Promise<Uint8Array | undefined> {
    return this.#client.fetchPublic(this.#path(`channels/${channel}/manifests/${version}.${end}`), {
      maxBytes: limits.signaturesBytes,
    })
  }

  /**
   * A whole blob, in memory: for small ones.
   *
   * @throws {@link PublisherError} `REL_SERVER_FILE`; its `details.missing` is 1 when the server has nothing there.
   */
  async blob(hash: string, size: number): Promise<Uint8Array> {
    const bytes = await this.#client.fetchPublic(this.#blobPath(hash), { maxBytes: size })
    if (bytes === undefined) throw damaged(hash, true)
    if (bytes.length !== size || sha256Hex(bytes) !== hash) throw damaged(hash)
    return bytes
  }

  /**
   * A blob in pieces, for large ones; its hash is checked after the last.
   *
   * @throws {@link PublisherError} `REL_SERVER_FILE` for other bytes, after they were given out.
   */
  async *pieces(hash: string, size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const digest = createSha256()
    for (let offset = 0; offset < size; offset += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, size - offset)
      const piece = await this.#client.fetchPublicRange(this.#blobPath(hash), offset, length, signal)
      digest.update(piece)
      yield piece
    }
    if (hexEncode(digest.digest()) !== hash) throw damaged(hash)
  }

  /** The chunk index of a file. */
  async index({ index: reference, sha256: blobSha256, size }: ManifestFile): Promise<ChunkIndex | undefined> {
    if (reference === undefined) return undefined
    const bytes = await this.blob(reference.sha256, reference.size)
    return parseChunkIndex(bytes, { reference, blobSha256, blobBytes: size })
  }

  /**
   * A file of which only what is read is fetched: whole chunks, each compared with the signed index.
   *
   * @param index - Of {@link ServerFiles.index}.
   */
  chunks(
    index: ChunkIndex,
    signal: AbortSignal,
  ): { size: number; read(offset: number, length: number): Promise<Uint8Array> } {
    const path = this.#blobPath(hexEncode(index.blobSha256))
    return {
      size: index.blobBytes,
      read: async (offset, length) => {
        const range = chunksAround(index, offset, Math.min(length, index.blobBytes - offset))
        const bytes = await this.#client.fetchPublicRange(path, range.start, range.end - range.start, signal)
        checkChunks(index, range, bytes)
        return bytes.subarray(offset - range.start, Math.min(offset + length, index.blobBytes) - range.start)
      },
    }
  }
}

interface ChunkRange {
  readonly first: number
  /** The chunk after the last. */
  readonly after: number
  /** Bytes of the file. */
  readonly start: number
  readonly end: number
}

function chunksAround({ lengths }: ChunkIndex, offset: number, length: number): ChunkRange {
  let [first, start] = [0, 0]
  while (first < lengths.length && start + (lengths[first] as number) <= offset) start += lengths[first++] as number
  let [after, end] = [first, start]
  while (after < lengths.length && end < offset + length) end += lengths[after++] as number
  return { first, after, start, end }
}

function checkChunks(index: ChunkIndex, { first, after }: ChunkRange, bytes: Uint8Array): void {
  let at = 0
  for (let chunk = first; chunk < after; chunk += 1) {
    const length = index.lengths[chunk] as number
    if (!equalBytes(sha256(bytes.subarray(at, at + length)), chunkDigest(index, chunk)))
      throw damaged(hexEncode(index.blobSha256))
    at += length
  }
}

function damaged(hash: string, isMissing = false): PublisherError {
  const what = isMissing ? 'lacks file' : 'has other bytes under the name of file'
  return new PublisherError('REL_SERVER_FILE', `The server ${what} ${hash}, which a signed manifest names`, {
    details: { sha256: hash, missing: isMissing ? 1 : 0 },
    hint: 'Run "keyturn-server fsck" on the server, or publish from the home that made the release',
  })
}
