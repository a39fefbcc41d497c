import { requireBytes, requireMembers } from '@keyturn/primitives'
import { M2pError } from './errors.ts'

/** Random access to bytes: a file, memory, a Blob, a server that answers ranges, or a failing double. */
export interface ByteSource {
  /** How many bytes there are. */
  readonly size: number
  /** Reads exactly `length` bytes from `offset`, or fewer where the source ends. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
}

/** Takes the bytes of an archive at their places; a place may be written again. */
export interface ByteSink {
  /** Writes all of `bytes` at `position`; they may change once the promise resolves. */
  write(bytes: Uint8Array, position: number): Promise<void> | void
}

/**
 * Refuses what is not a source at the door, before it fails somewhere inside: bytes given in place of a source, mostly.
 *
 * @param name - What the caller knows it by.
 * @throws TypeError.
 */
export function checkSource(source: ByteSource, name = 'source'): void {
  const { size, read } = (source ?? {}) as Partial<ByteSource>
  if (typeof size === 'number' && typeof read === 'function') return
  const hint = (source as unknown) instanceof Uint8Array ? ': wrap bytes in memorySource(bytes)' : ''
  throw new TypeError(`${name} must have size and read${hint}`)
}

/** Refuses what is not a sink at the door. @throws TypeError. */
export function checkSink(sink: ByteSink): void {
  if (typeof (sink as Partial<ByteSink> | undefined)?.write !== 'function')
    throw new TypeError('sink must have write(bytes, position)')
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): ByteSource {
  requireBytes(bytes, 'bytes')
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) }
}

/** A Blob or File as a source: only what is read is loaded. */
export function blobSource(blob: Blob): ByteSource {
  requireMembers(blob, 'blob', ['size', 'slice'])
  return {
    size: blob.size,
    read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  }
}

/** A sink that keeps everything in memory. */
export class MemorySink implements ByteSink {
  #bytes = new Uint8Array(4096)
  #length = 0

  write(bytes: Uint8Array, position: number): void {
    requireBytes(bytes, 'bytes')
    const end = position + bytes.length
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(bytes, position)
    this.#length = Math.max(this.#length, end)
  }

  /** A copy of what was written so far. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }
}

/**
 * Reads exactly `length` bytes.
 *
 * @throws {@link M2pError} `M2P_TRUNCATED` when the source gives fewer.
 */
export async function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) {
    throw new M2pError(
      'M2P_TRUNCATED',
      `Cannot read ${what}: expected ${length} bytes at offset ${offset}, got ${bytes.length}`,
      {
        details: { offset },
      },
    )
  }
  return bytes
}
