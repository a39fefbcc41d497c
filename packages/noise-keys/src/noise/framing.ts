import { NoiseKeysError } from '../errors.ts'
import { MAX_MESSAGE_BYTES } from './cipher-state.ts'

/** Bytes of a length before each message. */
const LENGTH_BYTES = 2

/** What is read of a transport: a `ReadableStream`, whether its type is the browser's or Node's. */
export interface ByteReadable {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
    cancel(reason?: unknown): Promise<void>
  }
}

/** What is written of a transport: a `WritableStream`, whether its type is the browser's or Node's. */
export interface ByteWritable {
  getWriter(): {
    readonly ready: Promise<unknown>
    readonly closed: Promise<unknown>
    write(bytes: Uint8Array): Promise<void>
    close(): Promise<void>
    abort(reason?: unknown): Promise<void>
  }
}

/** Both directions of a stream of bytes: a socket (`Duplex.toWeb(socket)`), a WebTransport stream, a pair of pipes. */
export interface ByteTransport {
  readonly readable: ByteReadable
  readonly writable: ByteWritable
}

/** Both directions as streams. */
export interface ByteDuplex {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

function cut(at: string): NoiseKeysError {
  return new NoiseKeysError('NK_TRUNCATED', `The stream ended ${at}`)
}

/**
 * A message with its length before it, two bytes, big-endian: as libp2p and most programs frame Noise over streams.
 *
 * @param message - At most 65,535 bytes.
 * @throws {@link NoiseKeysError} `NK_LIMIT`.
 */
export function frameMessage(message: Uint8Array): Uint8Array<ArrayBuffer> {
  if (message.length > MAX_MESSAGE_BYTES)
    throw new NoiseKeysError('NK_LIMIT', `A message has ${message.length} bytes, at most ${MAX_MESSAGE_BYTES} fit`)
  const frame = new Uint8Array(LENGTH_BYTES + message.length)
  frame[0] = message.length >> 8
  frame[1] = message.length & 0xff
  frame.set(message, LENGTH_BYTES)
  return frame
}

/** Reads framed messages from a stream of bytes, however its parts are cut. Memory: one message and one part. */
export class FrameReader {
  readonly #reader: ReturnType<ByteReadable['getReader']>
  #part: Uint8Array = new Uint8Array(0)

  /** @param readable - Locked until the reader is cancelled. */
  constructor(readable: ByteReadable) {
    this.#reader = readable.getReader()
  }

  /**
   * The next message, or `undefined` when the stream ends before its first byte.
   *
   * @throws {@link NoiseKeysError} `NK_TRUNCATED`: the stream ends inside a message. What the stream throws.
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const length = await this.#take(LENGTH_BYTES, true)
    if (length === undefined) return undefined
    return await this.#take(((length[0] as number) << 8) | (length[1] as number), false)
  }

  /** Ends the stream. */
  async cancel(reason?: unknown): Promise<void> {
    await this.#reader.cancel(reason)
  }

  async #take(length: number, mayEnd: true): Promise<Uint8Array<ArrayBuffer> | undefined>
  async #take(length: number, mayEnd: false): Promise<Uint8Array<ArrayBuffer>>
  async #take(length: number, mayEnd: boolean): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const taken = new Uint8Array(length)
    let at = 0
    while (at < length) {
      if (this.#part.length === 0) {
        const { value, done } = await this.#reader.read()
        if (done && at === 0 && mayEnd) return undefined
        if (done || value === undefined) throw cut('inside a message')
        this.#part = value
        continue
      }
      const part = this.#part.subarray(0, length - at)
      taken.set(part, at)
      at += part.length
      this.#part = this.#part.subarray(part.length)
    }
    return taken
  }
}
