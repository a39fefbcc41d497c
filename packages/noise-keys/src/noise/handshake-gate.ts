import { hexEncode, sha256, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import type { HandshakeState } from './handshake-state.ts'

/** How much unfinished work strangers may leave with us. */
export interface HandshakeGateOptions {
  readonly clock?: Clock | undefined
  /** Handshakes begun and not finished; 256 by default, then the oldest goes. */
  readonly maxPending?: number | undefined
  /** How long one may stay unfinished; 10 s by default. */
  readonly pendingMs?: number | undefined
  /** First messages remembered against repetition; 65,536 by default. */
  readonly maxRemembered?: number | undefined
}

/**
 * Keeps handshakes that take more than one round, bounded in number and time, and refuses messages that were seen.
 */
export class HandshakeGate {
  readonly #pending = new Map<string, { state: HandshakeState; sinceMs: number }>()
  readonly #seen = new Set<string>()
  readonly #clock: Clock
  readonly #maxPending: number
  readonly #pendingMs: number
  readonly #maxRemembered: number

  constructor(options: HandshakeGateOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.#maxPending = options.maxPending ?? 256
    this.#pendingMs = options.pendingMs ?? 10_000
    this.#maxRemembered = options.maxRemembered ?? 65_536
  }

  /** Handshakes begun and not finished. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /**
   * Notes a first or last message before it is read.
   *
   * @throws {@link NoiseKeysError} `NK_REPLAY` when it was seen before.
   */
  admit(message: Uint8Array): void {
    const digest = hexEncode(sha256(message))
    if (this.#seen.has(digest)) throw new NoiseKeysError('NK_REPLAY', 'The handshake message was seen before')
    this.#seen.add(digest)
    // A Set keeps its order: the first is the oldest.
    if (this.#seen.size > this.#maxRemembered) this.#seen.delete(this.#seen.values().next().value as string)
  }

  /** Keeps a handshake until its next message comes; drops what is too old or too much. */
  keep(id: string, state: HandshakeState): void {
    this.#dropStale()
    if (this.#pending.size >= this.#maxPending) this.#drop(this.#pending.keys().next().value as string)
    this.#pending.set(id, { state, sinceMs: this.#clock() })
  }

  /**
   * Takes a kept handshake out.
   *
   * @throws {@link NoiseKeysError} `NK_HANDSHAKE` when there is none, or no longer.
   */
  take(id: string): HandshakeState {
    this.#dropStale()
    const entry = this.#pending.get(id)
    if (entry === undefined) throw new NoiseKeysError('NK_HANDSHAKE', 'No such handshake is under way')
    this.#pending.delete(id)
    return entry.state
  }

  #dropStale(): void {
    const oldestMs = this.#clock() - this.#pendingMs
    for (const [id, { sinceMs }] of this.#pending) if (sinceMs <= oldestMs) this.#drop(id)
  }

  #drop(id: string): void {
    this.#pending.get(id)?.state.dispose()
    this.#pending.delete(id)
  }
}
