import { equalBytes, requireMembers, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { MAX_PLAINTEXT_BYTES } from './cipher-state.ts'
import type { HandshakeResult } from './handshake-state.ts'

/** When a session changes its keys and when it ends. */
export interface SessionLimits {
  /** Messages in one direction after which its sender rekeys; 2^20 by default. */
  readonly rekeyAfterMessages: number
  /** Bytes in one direction after which its sender rekeys; 1 GiB by default. */
  readonly rekeyAfterBytes: number
  /** Milliseconds after which a sender rekeys; 1 h by default. */
  readonly rekeyAfterMs: number
  /** Milliseconds after which only a new handshake helps; 24 h by default. */
  readonly maxAgeMs: number
}

/** The limits of docs/spec/noise-keys.md §7. */
export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  rekeyAfterMessages: 2 ** 20,
  rekeyAfterBytes: 2 ** 30,
  rekeyAfterMs: 3_600_000,
  maxAgeMs: 86_400_000,
}

/** Why a session ended. */
export type SessionEnd = 'age' | 'revoked' | 'decrypt' | 'closed'

/** Bytes of plaintext one message of a session carries at most. */
export const MAX_SESSION_PAYLOAD_BYTES = MAX_PLAINTEXT_BYTES - 1

const DATA = 0
const DATA_THEN_REKEY = 1
/** A peer that goes on this much past a limit without changing its key breaks the protocol. */
const TOLERANCE = 2

/** How a session is set up. */
export interface SessionOptions {
  readonly clock?: Clock | undefined
  readonly limits?: Partial<SessionLimits> | undefined
}

/**
 * An ordered channel after a handshake, with the key changes and the end that a long-lived channel needs. Each
 * message says inside its encryption whether its sender changes the key after it, so both sides always agree.
 */
export class NoiseSession {
  /** Static key of the other side, under patterns that have one. */
  readonly remoteStatic: Uint8Array | undefined
  /** Hash of the handshake: the name of this session. */
  readonly id: Uint8Array
  readonly #result: HandshakeResult
  readonly #clock: Clock
  readonly #limits: SessionLimits
  readonly #startedMs: number
  readonly #sent: Usage
  readonly #received: Usage
  readonly #listeners: ((end: SessionEnd) => void)[] = []
  #end: SessionEnd | undefined

  /** @param result - Taken over: the session wipes its keys when it ends. */
  constructor(result: HandshakeResult, options: SessionOptions = {}) {
    requireMembers(result, 'result', ['send', 'receive', 'handshakeHash'])
    this.remoteStatic = result.remoteStatic
    this.id = result.handshakeHash
    this.#result = result
    this.#clock = options.clock ?? systemClock
    this.#limits = { ...DEFAULT_SESSION_LIMITS, ...options.limits }
    this.#startedMs = this.#clock()
    this.#sent = new Usage(this.#startedMs)
    this.#received = new Usage(this.#startedMs)
  }

  /** Why the session ended; `undefined` while it lives. */
  get ended(): SessionEnd | undefined {
    return this.#end
  }

  /** Calls `listener` when the session ends. */
  onEnd(listener: (end: SessionEnd) => void): void {
    this.#listeners.push(listener)
  }

  /** @throws {@link NoiseKeysError} `NK_SESSION_ENDED`, `NK_LIMIT`. */
  send(payload: Uint8Array): Uint8Array {
    this.#assertAlive()
    if (payload.length > MAX_SESSION_PAYLOAD_BYTES) {
      throw new NoiseKeysError(
        'NK_LIMIT',
        `The payload has ${payload.length} bytes, at most ${MAX_SESSION_PAYLOAD_BYTES} are allowed`,
      )
    }
    this.#sent.add(payload.length)
    const rekey = this.#sent.isOver(this.#limits, 1, this.#clock())
    const frame = new Uint8Array(payload.length + 1)
    frame[0] = rekey ? DATA_THEN_REKEY : DATA
    frame.set(payload, 1)
    const message = this.#result.send.encrypt(frame)
    if (rekey) this.#rekey('send')
    return message
  }

  /** @throws {@link NoiseKeysError} `NK_DECRYPT` and the session ends, `NK_SESSION_ENDED`, `NK_LIMIT`. */
  receive(message: Uint8Array): Uint8Array {
    this.#assertAlive()
    let frame: Uint8Array
    try {
      frame = this.#result.receive.decrypt(message)
    } catch (error) {
      // Reordered, dropped, repeated or forged: an ordered channel never skips over it.
      this.close('decrypt')
      throw error
    }
    const payload = frame.subarray(1)
    this.#received.add(payload.length)
    if (frame[0] === DATA_THEN_REKEY) this.#rekey('receive')
    else if (frame[0] !== DATA || this.#received.isOver(this.#limits, TOLERANCE, this.#clock())) {
      this.close('decrypt')
      throw new NoiseKeysError(
        'NK_DECRYPT',
        'The other side breaks the protocol: unknown frame, or no change of key when due',
      )
    }
    return payload
  }

  /** Ends the session and wipes its keys. */
  close(end: SessionEnd = 'closed'): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#result.send.dispose()
    this.#result.receive.dispose()
    for (const listener of this.#listeners) listener(end)
  }

  #rekey(direction: 'send' | 'receive'): void {
    this.#result[direction].rekey()
    const usage = direction === 'send' ? this.#sent : this.#received
    usage.reset(this.#clock())
  }

  #assertAlive(): void {
    if (this.#end === undefined && this.#clock() - this.#startedMs >= this.#limits.maxAgeMs) this.close('age')
    if (this.#end !== undefined) throw new NoiseKeysError('NK_SESSION_ENDED', `The session has ended: ${this.#end}`)
  }
}

/** What one direction used of its key. */
class Usage {
  #messages = 0
  #bytes = 0
  #sinceMs: number

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  add(bytes: number): void {
    this.#messages += 1
    this.#bytes += bytes
  }

  isOver(limits: SessionLimits, factor: number, nowMs: number): boolean {
    return (
      this.#messages >= limits.rekeyAfterMessages * factor ||
      this.#bytes >= limits.rekeyAfterBytes * factor ||
      // A silent peer is not a breach: time counts for the sender alone.
      (factor === 1 && nowMs - this.#sinceMs >= limits.rekeyAfterMs)
    )
  }

  reset(nowMs: number): void {
    this.#messages = 0
    this.#bytes = 0
    this.#sinceMs = nowMs
  }
}

/** All live sessions of one endpoint, so that a revocation reaches them. */
export class SessionRegistry {
  readonly #sessions = new Set<NoiseSession>()

  /** How many sessions live. */
  get size(): number {
    return this.#sessions.size
  }

  /** Adds a session until it ends. */
  add(session: NoiseSession): NoiseSession {
    this.#sessions.add(session)
    session.onEnd(() => this.#sessions.delete(session))
    return session
  }

  /** Ends every session with a peer whose key was revoked; answers how many. */
  revokePeer(publicKey: Uint8Array): number {
    const hit = [...this.#sessions].filter(
      ({ remoteStatic }) => remoteStatic !== undefined && equalBytes(remoteStatic, publicKey),
    )
    for (const session of hit) session.close('revoked')
    return hit.length
  }

  /**
   * Ends every session with a key that a lookup found revoked: call it with what `lookUpKeys` answers.
   *
   * @returns How many ended.
   */
  enforce(verdicts: readonly { readonly verdict: string; readonly publicKey?: Uint8Array }[]): number {
    return verdicts.reduce((ended, { verdict, publicKey }) => {
      return verdict === 'revoked' && publicKey !== undefined ? ended + this.revokePeer(publicKey) : ended
    }, 0)
  }

  /** Ends all sessions, as the revocation of one's own key does; answers how many. */
  endAll(end: SessionEnd = 'revoked'): number {
    const all = [...this.#sessions]
    for (const session of all) session.close(end)
    return all.length
  }
}
