import { concatBytes, requireMembers, systemRandom, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { MAX_MESSAGE_BYTES, TAG_BYTES } from './cipher-state.ts'
import type { CipherState } from './cipher-state.ts'
import type { Token } from './patterns.ts'
import { noiseKeyPair, noiseProtocol } from './suite.ts'
import type { NoiseKeyPair, NoiseProtocol } from './suite.ts'
import { SymmetricState } from './symmetric-state.ts'

/** Which side of a handshake. */
export type NoiseRole = 'initiator' | 'responder'

/** What a side brings to a handshake. */
export interface HandshakeOptions {
  readonly role: NoiseRole
  /** Must be equal on both sides; empty by default. */
  readonly prologue?: Uint8Array | undefined
  /** Own static key pair, where the pattern has one. Not modified; the caller wipes it. */
  readonly staticKey?: NoiseKeyPair | undefined
  /** Static public key of the other side, where the pattern knows it beforehand. */
  readonly remoteStatic?: Uint8Array | undefined
  /** Pre-shared keys of 32 bytes, in the order of the modifiers. */
  readonly psks?: readonly Uint8Array[] | undefined
  /** Takes a psk of 32 zero bytes, which test vectors have; elsewhere it is a buffer somebody forgot to fill. */
  readonly allowZeroPsk?: boolean | undefined
  /** Source of the ephemeral key. */
  readonly random?: RandomSource | undefined
}

/** What a finished handshake leaves. */
export interface HandshakeResult {
  readonly send: CipherState
  readonly receive: CipherState
  /** Equal on both sides, unique to this handshake; may serve as the session's name. */
  readonly handshakeHash: Uint8Array
  readonly remoteStatic: Uint8Array | undefined
}

const PSK_BYTES = 32
const NO_BYTES = new Uint8Array(0)

/**
 * One side of a Noise handshake, Noise specification §5.3. Any message that does not fit ends it: keys are wiped and
 * further calls throw.
 *
 * @example
 * const client = new HandshakeState('Noise_NK_25519_ChaChaPoly_SHA256', { role: 'initiator', remoteStatic })
 * const message = client.writeMessage(payload)
 */
export class HandshakeState {
  readonly protocol: NoiseProtocol
  readonly role: NoiseRole
  readonly #symmetric: SymmetricState
  readonly #static: NoiseKeyPair | undefined
  readonly #psks: Uint8Array[]
  readonly #random: RandomSource
  #ephemeral: NoiseKeyPair | undefined
  #remoteStatic: Uint8Array | undefined
  #remoteEphemeral: Uint8Array | undefined
  #messageIndex = 0
  #ended = false

  /** @throws {@link NoiseKeysError} `NK_HANDSHAKE` (unknown protocol), `NK_KEY`; TypeError when a key is missing. */
  constructor(protocol: string | NoiseProtocol, options: HandshakeOptions) {
    if (typeof protocol !== 'string') requireMembers(protocol, 'protocol', ['pattern', 'dh', 'cipher', 'hash'])
    requireMembers(options, 'options', ['role'])
    this.protocol = typeof protocol === 'string' ? noiseProtocol(protocol) : protocol
    this.role = options.role
    this.#static = options.staticKey
    this.#remoteStatic = options.remoteStatic?.slice()
    this.#psks = (options.psks ?? []).map((psk) => psk.slice())
    this.#random = options.random ?? systemRandom
    this.#assertKeys()
    if (options.allowZeroPsk !== true) this.#assertPsksFilled()
    this.#symmetric = new SymmetricState(this.protocol)
    this.#symmetric.mixHash(options.prologue ?? NO_BYTES)
    const { initiatorStaticKnown, responderStaticKnown } = this.protocol.pattern
    if (initiatorStaticKnown) this.#symmetric.mixHash(this.#staticOf('initiator'))
    if (responderStaticKnown) this.#symmetric.mixHash(this.#staticOf('responder'))
  }

  /** Whether all messages were exchanged. */
  get isComplete(): boolean {
    return this.#messageIndex === this.protocol.pattern.messages.length
  }

  /** Whether the next message is ours to write. */
  get isMyTurn(): boolean {
    return !this.isComplete && this.#isSender()
  }

  /** Hash of the handshake so far. */
  get handshakeHash(): Uint8Array {
    return this.#symmetric.handshakeHash
  }

  /** Static key of the other side, once known. Take it from here, never from a payload. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic?.slice()
  }

  /** Bytes the next message adds to its payload. */
  get overhead(): number {
    const { dh, pattern } = this.protocol
    let keyed = this.#symmetric.cipher.hasKey
    let length = 0
    for (const token of pattern.messages[this.#messageIndex] ?? []) {
      if (token === 'e') length += dh.keyLength
      if (token === 's') length += dh.keyLength + (keyed ? TAG_BYTES : 0)
      if (token !== 'e' && token !== 's') keyed = true
      if (token === 'e' && pattern.pskCount > 0) keyed = true
    }
    return length + (keyed ? TAG_BYTES : 0)
  }

  /**
   * Writes the next message.
   *
   * @throws {@link NoiseKeysError} `NK_LIMIT`, `NK_LOW_ORDER`, `NK_HANDSHAKE` (ended, or not our turn).
   */
  writeMessage(payload: Uint8Array = NO_BYTES): Uint8Array {
    const tokens = this.#nextTokens(true)
    if (payload.length + this.overhead > MAX_MESSAGE_BYTES) {
      throw new NoiseKeysError(
        'NK_LIMIT',
        `The payload has ${payload.length} bytes, the message would be over ${MAX_MESSAGE_BYTES}`,
      )
    }
    return this.#endOnError(() => {
      const parts = tokens.map((token) => this.#writeToken(token))
      parts.push(this.#symmetric.encryptAndHash(payload))
      this.#messageIndex += 1
      return concatBytes(...parts)
    })
  }

  /**
   * Reads the next message.
   *
   * @returns Its payload.
   * @throws {@link NoiseKeysError} `NK_HANDSHAKE` whatever does not fit, `NK_LOW_ORDER`.
   */
  readMessage(message: Uint8Array): Uint8Array {
    const tokens = this.#nextTokens(false)
    return this.#endOnError(() => {
      if (message.length > MAX_MESSAGE_BYTES || message.length < this.overhead)
        throw mismatch('a message of wrong length')
      let rest = message
      for (const token of tokens) rest = rest.subarray(this.#readToken(token, rest))
      const payload = this.#symmetric.decryptAndHash(rest)
      this.#messageIndex += 1
      return payload
    })
  }

  /**
   * Ends the handshake and gives the two ciphers; all other keys are wiped.
   *
   * @throws TypeError before the last message, or a second time.
   */
  split(): HandshakeResult {
    if (!this.isComplete || this.#ended) throw new TypeError('split() wants a handshake that is complete, once')
    const handshakeHash = this.#symmetric.handshakeHash
    const [first, second] = this.#symmetric.split()
    // One-way patterns have no way back: the second key is never used.
    if (this.protocol.pattern.oneWay) second.dispose()
    const [send, receive] = this.role === 'initiator' ? [first, second] : [second, first]
    this.dispose()
    return { send, receive, handshakeHash, remoteStatic: this.remoteStatic }
  }

  /** Wipes the keys of this handshake; the static key pair stays the caller's. */
  dispose(): void {
    this.#ended = true
    this.#symmetric.dispose()
    wipe(this.#ephemeral?.secretKey, ...this.#psks)
  }

  #writeToken(token: Token): Uint8Array {
    if (token === 'e') {
      const { dh } = this.protocol
      this.#ephemeral = noiseKeyPair(dh, this.#random(dh.keyLength))
      this.#mixEphemeral(this.#ephemeral.publicKey)
      return this.#ephemeral.publicKey
    }
    if (token === 's') return this.#symmetric.encryptAndHash((this.#static as NoiseKeyPair).publicKey)
    this.#mixSecret(token)
    return NO_BYTES
  }

  /** @returns How many bytes the token took. */
  #readToken(token: Token, bytes: Uint8Array): number {
    const { keyLength } = this.protocol.dh
    if (token === 'e') {
      this.#remoteEphemeral = bytes.slice(0, keyLength)
      this.#mixEphemeral(this.#remoteEphemeral)
      return keyLength
    }
    if (token === 's') {
      const length = keyLength + (this.#symmetric.cipher.hasKey ? TAG_BYTES : 0)
      this.#remoteStatic = this.#symmetric.decryptAndHash(bytes.slice(0, length))
      return length
    }
    this.#mixSecret(token)
    return 0
  }

  #mixEphemeral(publicKey: Uint8Array): void {
    this.#symmetric.mixHash(publicKey)
    if (this.protocol.pattern.pskCount > 0) this.#symmetric.mixKey(publicKey)
  }

  #mixSecret(token: Token): void {
    if (token === 'psk') {
      const psk = this.#psks.shift() as Uint8Array
      this.#symmetric.mixKeyAndHash(psk)
      wipe(psk)
      return
    }
    const [own, remote] = this.#keysOf(token)
    const shared = this.#agree((own as NoiseKeyPair).secretKey, remote as Uint8Array)
    this.#symmetric.mixKey(shared)
    wipe(shared)
  }

  /** `es` is initiator's ephemeral with responder's static; `se` the other way round. */
  #keysOf(token: Token): [NoiseKeyPair | undefined, Uint8Array | undefined] {
    const initiatorUses = token[0] === 'e' ? 'ephemeral' : 'static'
    const responderUses = token[1] === 'e' ? 'ephemeral' : 'static'
    const [own, remote] = this.role === 'initiator' ? [initiatorUses, responderUses] : [responderUses, initiatorUses]
    return [
      own === 'ephemeral' ? this.#ephemeral : this.#static,
      remote === 'ephemeral' ? this.#remoteEphemeral : this.#remoteStatic,
    ]
  }

  #agree(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
    try {
      return this.protocol.dh.agree(secretKey, publicKey)
    } catch (cause) {
      // Before anything is derived from it: 31 encodings give an all-zero secret that everybody knows.
      throw new NoiseKeysError('NK_LOW_ORDER', 'The other side sent a public key of low order', { cause })
    }
  }

  #isSender(): boolean {
    return (this.#messageIndex % 2 === 0) === (this.role === 'initiator')
  }

  #nextTokens(writing: boolean): readonly Token[] {
    const tokens = this.protocol.pattern.messages[this.#messageIndex]
    if (this.#ended) throw mismatch('a handshake that has ended')
    if (tokens === undefined || this.#isSender() !== writing) throw mismatch('a message out of turn')
    return tokens
  }

  #endOnError<Value>(work: () => Value): Value {
    try {
      return work()
    } catch (error) {
      this.dispose()
      if (error instanceof NoiseKeysError && error.code !== 'NK_DECRYPT') throw error
      throw mismatch('a message that does not open', error)
    }
  }

  #staticOf(role: NoiseRole): Uint8Array {
    return (role === this.role ? this.#static?.publicKey : this.#remoteStatic) as Uint8Array
  }

  #assertPsksFilled(): void {
    if (!this.#psks.some(isZero)) return
    throw new NoiseKeysError('NK_KEY', 'A psk is all zero: everybody knows it', {
      hint: 'Fill the buffer, or give allowZeroPsk if the protocol really asks for zeros',
    })
  }

  #assertKeys(): void {
    const { pattern, dh } = this.protocol
    const [ownKnown, remoteKnown] =
      this.role === 'initiator'
        ? [pattern.initiatorStaticKnown, pattern.responderStaticKnown]
        : [pattern.responderStaticKnown, pattern.initiatorStaticKnown]
    const sendsStatic = pattern.messages.some((tokens, index) => {
      return tokens.includes('s') && (index % 2 === 0) === (this.role === 'initiator')
    })
    if ((ownKnown || sendsStatic) && this.#static === undefined)
      throw new TypeError(`${this.protocol.name} needs a staticKey`)
    if (remoteKnown !== (this.#remoteStatic !== undefined)) {
      throw new TypeError(`${this.protocol.name} ${remoteKnown ? 'needs' : 'takes no'} remoteStatic`)
    }
    if (this.#static?.secretKey.every((byte) => byte === 0) === true)
      throw new NoiseKeysError('NK_KEY', 'The secret of staticKey was wiped', {
        hint: 'A key pair keeps the bytes it was made with. If they are lent to you, give it a copy: secret.slice()',
      })
    for (const key of [this.#static?.publicKey, this.#static?.secretKey, this.#remoteStatic]) {
      if (key !== undefined && key.length !== dh.keyLength) {
        throw new NoiseKeysError('NK_KEY', `Key has ${key.length} bytes, ${this.protocol.name} wants ${dh.keyLength}`)
      }
    }
    if (this.#psks.length !== pattern.pskCount || this.#psks.some((psk) => psk.length !== PSK_BYTES)) {
      throw new NoiseKeysError('NK_KEY', `${this.protocol.name} wants ${pattern.pskCount} psks of ${PSK_BYTES} bytes`)
    }
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

function mismatch(what: string, cause?: unknown): NoiseKeysError {
  return new NoiseKeysError('NK_HANDSHAKE', `The handshake has ${what}`, cause === undefined ? {} : { cause })
}
