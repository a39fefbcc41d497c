import { requireBytes, requireMembers } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { FrameReader, frameMessage } from './framing.ts'
import type { ByteDuplex, ByteTransport, ByteWritable } from './framing.ts'
import { HandshakeState } from './handshake-state.ts'
import type { HandshakeOptions } from './handshake-state.ts'
import { MAX_SESSION_PAYLOAD_BYTES, NoiseSession } from './session.ts'
import type { SessionOptions } from './session.ts'
import type { NoiseProtocol } from './suite.ts'

/** Options of {@link openNoiseStream}. */
export interface NoiseStreamOptions extends HandshakeOptions, SessionOptions {
  /**
   * Decides whether the other side may go on, as soon as its static key is known and before anything more is sent to
   * it; a throw or a rejection ends the stream, and nothing that it returns does: use `assertKeyUsable`, which throws.
   * Look the key up here: a key that opens a handshake may have been revoked.
   */
  readonly verifyRemote?: ((publicKey: Uint8Array) => unknown) | undefined
  /** Ends a handshake that takes too long: `AbortSignal.timeout(10_000)`. Default: it may take forever. */
  readonly signal?: AbortSignal | undefined
}

/** An encrypted stream in both directions. */
export interface NoiseStream extends ByteDuplex {
  /** What is behind it: the other side's key, the name of the session, its end. */
  readonly session: NoiseSession
}

const NO_BYTES = new Uint8Array(0)

/** The transport, with one place that ends both of its directions. */
class Wire {
  readonly frames: FrameReader
  readonly #writer: ReturnType<ByteWritable['getWriter']>

  constructor(transport: ByteTransport) {
    this.frames = new FrameReader(transport.readable)
    this.#writer = transport.writable.getWriter()
    // A failure is reported by the write that meets it.
    this.#writer.closed.catch(() => undefined)
  }

  async write(message: Uint8Array): Promise<void> {
    await this.#writer.ready
    await this.#writer.write(frameMessage(message))
  }

  /** Ends what is sent; the other direction goes on. */
  async end(): Promise<void> {
    await this.#writer.close()
  }

  /** Ends both directions; nobody waits for it. */
  destroy(reason: unknown): void {
    void this.frames.cancel(reason).catch(() => undefined)
    void this.#writer.abort(reason).catch(() => undefined)
  }
}

async function shakeHands(wire: Wire, handshake: HandshakeState, options: NoiseStreamOptions): Promise<void> {
  let isVerified = false
  while (!handshake.isComplete) {
    if (handshake.isMyTurn) {
      await wire.write(handshake.writeMessage())
      continue
    }
    const message = await wire.frames.read()
    if (message === undefined) throw new NoiseKeysError('NK_TRUNCATED', 'The stream ended inside the handshake')
    handshake.readMessage(message)
    const { remoteStatic } = handshake
    if (remoteStatic === undefined || isVerified) continue
    isVerified = true
    await options.verifyRemote?.(remoteStatic)
    options.signal?.throwIfAborted()
  }
}

/** One stream after its handshake. */
class Channel {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  readonly #wire: Wire
  readonly #session: NoiseSession
  #reading!: ReadableStreamDefaultController<Uint8Array>
  #writing!: WritableStreamDefaultController
  /** Rejects when the stream fails: a transport whose peer reads nothing may never settle a write. */
  readonly #failure = Promise.withResolvers<never>()
  #isReadOver = false
  #isWriteOver = false

  constructor(wire: Wire, session: NoiseSession) {
    this.#wire = wire
    this.#session = session
    this.#failure.promise.catch(() => undefined)
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#reading = controller),
        pull: () => this.#pull(),
        cancel: (reason) => this.#fail(reason),
      },
      // Nothing is read from the transport before somebody asks for it.
      { highWaterMark: 0 },
    )
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => void (this.#writing = controller),
      write: (chunk) => this.#guarded(() => this.#write(chunk)),
      close: () => this.#guarded(() => this.#finish()),
      abort: (reason) => this.#fail(reason),
    })
    session.onEnd((end) => {
      // A message that does not open is reported by the read that met it.
      if (end !== 'decrypt' && (!this.#isReadOver || !this.#isWriteOver))
        this.#fail(new NoiseKeysError('NK_SESSION_ENDED', `The session has ended: ${end}`))
    })
  }

  async #write(chunk: Uint8Array): Promise<void> {
    requireBytes(chunk, 'chunk')
    for (let at = 0; at < chunk.length; at += MAX_SESSION_PAYLOAD_BYTES)
      await this.#wire.write(this.#session.send(chunk.subarray(at, at + MAX_SESSION_PAYLOAD_BYTES)))
  }

  /** The end of a direction is a message as well: a connection that is cut never looks whole. */
  async #finish(): Promise<void> {
    await this.#wire.write(this.#session.send(NO_BYTES))
    await this.#wire.end()
    this.#isWriteOver = true
    this.#closeWhenOver()
  }

  async #pull(): Promise<void> {
    await this.#guarded(async () => {
      const message = await this.#wire.frames.read()
      if (message === undefined)
        throw new NoiseKeysError('NK_TRUNCATED', 'The stream ended without the message that ends it')
      const payload = this.#session.receive(message)
      if (payload.length > 0) this.#reading.enqueue(payload)
      else await this.#endReading()
    })
  }

  async #endReading(): Promise<void> {
    this.#isReadOver = true
    this.#reading.close()
    this.#closeWhenOver()
    // The end of the transport has to be read, or a socket never closes.
    if ((await this.#wire.frames.read()) !== undefined)
      throw new NoiseKeysError('NK_DECRYPT', 'The other side breaks the protocol: a message after the last one')
  }

  #closeWhenOver(): void {
    if (this.#isReadOver && this.#isWriteOver) this.#session.close()
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await Promise.race([work(), this.#failure.promise])
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** Ends everything: each direction that is still open fails with the reason. */
  #fail(reason: unknown): void {
    const [wasReading, wasWriting] = [!this.#isReadOver, !this.#isWriteOver]
    this.#isReadOver = this.#isWriteOver = true
    if (wasReading) errorQuietly(this.#reading, reason)
    if (wasWriting) errorQuietly(this.#writing, reason)
    this.#failure.reject(reason)
    this.#wire.destroy(reason)
    this.#session.close()
  }
}

/** A stream that its own user cancelled or aborted cannot be failed once more. */
function errorQuietly(controller: { error(reason: unknown): void }, reason: unknown): void {
  try {
    controller.error(reason)
  } catch {
    // It has ended.
  }
}

/**
 * Runs a handshake over a stream of bytes and gives an encrypted stream in both directions. Every message has its
 * length before it, at most 65,535 bytes; keys change by the session's limits. Writing waits for the transport, and
 * reading takes from it only what is asked for. Closing `writable` ends one direction: the other side reads to the end
 * and may go on writing. A connection that is cut fails with `NK_TRUNCATED`, never looks like an end.
 *
 * @param transport - Taken over: it ends with the stream, and when the handshake fails.
 * @param protocol - `Noise_XX_25519_ChaChaPoly_SHA256`, for instance; the same on both sides.
 * @returns The stream. An error of one direction ends both, with the code of the session.
 * @throws {@link NoiseKeysError} `NK_HANDSHAKE`, `NK_TRUNCATED`; what `verifyRemote` and the transport throw; the
 * reason
 *   of the signal.
 * @example `const { readable, writable } = await openNoiseStream(Duplex.toWeb(socket), protocol, { role, staticKey })`
 */
export async function openNoiseStream(
  transport: ByteTransport,
  protocol: string | NoiseProtocol,
  options: NoiseStreamOptions,
): Promise<NoiseStream> {
  requireMembers(transport, 'transport', ['readable', 'writable'])
  requireMembers(options, 'options', ['role'])
  const { signal } = options
  signal?.throwIfAborted()
  const handshake = new HandshakeState(protocol, options)
  const wire = new Wire(transport)
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([shakeHands(wire, handshake, options), aborted.promise])
    const session = new NoiseSession(handshake.split(), options)
    const { readable, writable } = new Channel(wire, session)
    return { readable, writable, session }
  } catch (error) {
    handshake.dispose()
    wire.destroy(error)
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
