import { parseIdentityName } from '@keyturn/noise-keys'
import { isUsable, KeyFloors, lookUpKeys } from '@keyturn/noise-keys/reader'
import type { KeyVerdict } from '@keyturn/noise-keys/reader'
import { noiseKeyPair, noiseProtocol } from '@keyturn/noise-keys/noise'
import type { NoiseKeyPair } from '@keyturn/noise-keys/noise'
import { EXCHANGE_PROTOCOLS, serverKeyHint } from '@keyturn/runtime-key'
import { equalBytes, hexEncode, wipe } from '@keyturn/primitives'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { ownDirectory } from './key-files.ts'

/** A static key of this server that may be used now. */
export interface ServerKey {
  readonly identity: string
  readonly device: string
  readonly pair: NoiseKeyPair
}

const { dh } = noiseProtocol(EXCHANGE_PROTOCOLS.NK)
const PARTITION = 'keyturn'
const CELL = 'transport-keys'
/** How long a verdict counts; a revocation published here is noticed at once. */
const VERDICT_MS = 60_000

interface Loaded {
  readonly keys: readonly ServerKey[]
  readonly loadedMs: number
}

/**
 * The transport keys of this server: sealed in the vault, used only while a record published here says `active`, or
 * `retiring` before its end. Revoked and retired ones are wiped from the vault forever.
 */
export class ServerKeys {
  readonly #context: ServerContext
  readonly #vault: Vault
  readonly #unsubscribe: () => void
  #loaded: Loaded | undefined
  #loading: Promise<Loaded> | undefined

  constructor(context: ServerContext, vault: Vault) {
    this.#context = context
    this.#vault = vault
    this.#unsubscribe = context.metadata.subscribe((topic) => {
      if (topic === 'noise') this.forget()
    })
  }

  /** Seals the secret of a device of an identity. The bytes are wiped. */
  async store(identityName: string, device: string, secret: Uint8Array): Promise<string> {
    const identity = parseIdentityName(identityName)
    try {
      if (secret.length !== 32) throw new ServerError('SRV_REQUEST', 'A transport key has 32 bytes')
      const { publicKey } = noiseKeyPair(dh, secret)
      await this.#vault.partition(PARTITION).cell(CELL).seal(`${identity.name}/${device}`, secret)
      return hexEncode(publicKey)
    } finally {
      wipe(secret)
      this.forget()
    }
  }

  /** The key that a client's hint names; `undefined` when there is none that may be used. */
  async find(hint: Uint8Array): Promise<ServerKey | undefined> {
    const { keys } = await this.#current()
    return keys.find(({ pair }) => equalBytes(serverKeyHint(pair.publicKey), hint))
  }

  /** Wipes the keys in memory; they are loaded and verified again when needed. */
  forget(): void {
    const old = this.#loaded
    this.#loaded = undefined
    this.#loading = undefined
    for (const { pair } of old?.keys ?? []) wipe(pair.secretKey)
  }

  /** Wipes everything and ends the subscription. */
  close(): void {
    this.#unsubscribe()
    this.forget()
  }

  async #current(): Promise<Loaded> {
    if (this.#loaded !== undefined && this.#context.clock() - this.#loaded.loadedMs < VERDICT_MS) return this.#loaded
    this.forget()
    this.#loading ??= this.#load()
    return this.#loading
  }

  async #load(): Promise<Loaded> {
    const place = this.#vault.partition(PARTITION).cell(CELL)
    const keys: ServerKey[] = []
    const verdicts = new Map<string, readonly KeyVerdict[]>()
    for await (const { name } of place.list()) {
      const [identity = '', device = ''] = name.split('/')
      if (!verdicts.has(identity)) verdicts.set(identity, await this.#lookUp(identity))
      const secret = await place.open(name)
      const pair = noiseKeyPair(dh, secret)
      const verdict = verdicts
        .get(identity)
        ?.find(({ publicKey }) => publicKey !== undefined && equalBytes(publicKey, pair.publicKey))
      if (verdict !== undefined && isUsable(verdict)) keys.push({ identity, device, pair })
      else {
        wipe(pair.secretKey, secret)
        if (verdict?.verdict === 'revoked' || verdict?.verdict === 'retired') await place.remove(name)
      }
    }
    this.#loaded = { keys, loadedMs: this.#context.clock() }
    return this.#loaded
  }

  async #lookUp(name: string): Promise<readonly KeyVerdict[]> {
    const nowS = Math.floor(this.#context.clock() / 1000)
    return lookUpKeys(ownDirectory(this.#context.metadata), parseIdentityName(name), new KeyFloors(), { nowS })
  }
}
