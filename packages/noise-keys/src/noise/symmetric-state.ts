import { concatBytes, utf8Encode, wipe } from '@keyturn/primitives'
import { CipherState } from './cipher-state.ts'
import type { NoiseProtocol } from './suite.ts'

const KEY_BYTES = 32

/** Chaining key, handshake hash and cipher of a handshake. Noise specification §5.2. */
export class SymmetricState {
  readonly cipher: CipherState
  readonly #protocol: NoiseProtocol
  #chainingKey: Uint8Array
  #hash: Uint8Array

  constructor(protocol: NoiseProtocol) {
    this.#protocol = protocol
    const { hashLength, hash } = protocol.hash
    const name = utf8Encode(protocol.name)
    this.#hash = new Uint8Array(hashLength)
    if (name.length <= hashLength) this.#hash.set(name)
    else this.#hash = hash(name)
    this.#chainingKey = this.#hash.slice()
    this.cipher = new CipherState(protocol.cipher)
  }

  /** Hash of everything that happened so far. */
  get handshakeHash(): Uint8Array {
    return this.#hash.slice()
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const [chainingKey, key] = this.#expand(inputKeyMaterial, 2)
    this.#replaceChainingKey(chainingKey)
    this.#useKey(key)
  }

  mixHash(bytes: Uint8Array): void {
    this.#hash = this.#protocol.hash.hash(concatBytes(this.#hash, bytes))
  }

  mixKeyAndHash(inputKeyMaterial: Uint8Array): void {
    const [chainingKey, hash, key] = this.#expand(inputKeyMaterial, 3)
    this.#replaceChainingKey(chainingKey)
    this.mixHash(hash as Uint8Array)
    wipe(hash)
    this.#useKey(key)
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.cipher.encrypt(plaintext, this.#hash)
    this.mixHash(ciphertext)
    return ciphertext
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.cipher.decrypt(ciphertext, this.#hash)
    this.mixHash(ciphertext)
    return plaintext
  }

  /** The ciphers of initiator and responder; the state is wiped. */
  split(): [CipherState, CipherState] {
    const [first, second] = this.#expand(new Uint8Array(0), 2)
    const ciphers: [CipherState, CipherState] = [this.#cipherOf(first), this.#cipherOf(second)]
    this.dispose()
    return ciphers
  }

  /** Wipes every key; the hash, which is public, stays. */
  dispose(): void {
    wipe(this.#chainingKey)
    this.cipher.dispose()
  }

  #cipherOf(key: Uint8Array | undefined): CipherState {
    const cipher = new CipherState(this.#protocol.cipher)
    cipher.initialize((key as Uint8Array).slice(0, KEY_BYTES))
    wipe(key)
    return cipher
  }

  #useKey(key: Uint8Array | undefined): void {
    this.cipher.initialize((key as Uint8Array).slice(0, KEY_BYTES))
    wipe(key)
  }

  #replaceChainingKey(chainingKey: Uint8Array | undefined): void {
    wipe(this.#chainingKey)
    this.#chainingKey = chainingKey as Uint8Array
  }

  /** HKDF of the Noise specification, §4.3. */
  #expand(inputKeyMaterial: Uint8Array, count: 2 | 3): Uint8Array[] {
    const { hmac } = this.#protocol.hash
    const extracted = hmac(this.#chainingKey, inputKeyMaterial)
    const outputs: Uint8Array[] = []
    for (let index = 1; index <= count; index += 1) {
      outputs.push(hmac(extracted, outputs.at(-1) ?? new Uint8Array(0), Uint8Array.of(index)))
    }
    wipe(extracted)
    return outputs
  }
}
