import type { ReleaseManifest } from '@keyturn/manifest'
import { NoiseKeysError, parseIdentityName, releaseServerDirectory } from '@keyturn/noise-keys'
import { isUsable, KeyFloors, lookUpKeys } from '@keyturn/noise-keys/reader'
import type { KeyDirectory } from '@keyturn/noise-keys'
import { askOnce, noiseKeyPair, noiseProtocol } from '@keyturn/noise-keys/noise'
import { concatBytes, hexDecode, KeyturnError, wipe } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import {
  assertListed,
  EXCHANGE_ANSWER_LENGTH,
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  openKeyAnswer,
  RuntimeKeyError,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyRequest,
} from '@keyturn/runtime-key'
import type { RuntimeKey } from '@keyturn/runtime-key'
import { LauncherError } from '../errors.ts'
import type { DeviceKey } from './device-key.ts'
import { readSmallFile, writeSmallFile } from '../disk/disk.ts'
import type { Fetch } from '../fetch/http.ts'
import type { RuntimeKeyProvider } from './runtime-key.ts'
import type { SealedKeyCache } from './sealed-key-cache.ts'

/** What fetching keys over Noise needs. */
export interface NoiseRuntimeKeysOptions {
  readonly fs: FileSystem
  readonly fetch: Fetch
  readonly clock: () => number
  /** Address of the server. */
  readonly server: string
  /** Transport identities that the newest role document names. */
  readonly transport: readonly string[]
  /** File of the rollback floors of the key records. */
  readonly floorsFile: string
  /** The key of this machine; once it has one, it asks with it (IK), else without a name (NK). */
  readonly device?: DeviceKey | undefined
  /** For offline starts; absent: none is kept. */
  readonly cache?: SealedKeyCache | undefined
  /** Where key records are read; default the server itself. */
  readonly directory?: KeyDirectory | undefined
}

const { dh } = noiseProtocol(EXCHANGE_PROTOCOLS.IK)
const timeoutMs = 10_000
const MAX_FLOORS_BYTES = 1024 * 1024
/** The server knows, and says no: no cached key takes its place. */
const final = new Set(['RK_KEY_ID_UNKNOWN', 'RK_REFUSED'])

/** The content key that the archives of a release are under. */
export function wantedKeyId(manifest: ReleaseManifest): number {
  const used = new Set(manifest.files.map(({ keyId }) => keyId))
  const active = manifest.contentKeys.filter(({ status }) => status === 'active')
  const entry =
    active.find(({ keyId }) => used.has(keyId)) ??
    active[0] ??
    manifest.contentKeys.find(({ keyId }) => used.has(keyId))
  if (entry === undefined) throw new RuntimeKeyError('RK_MISSING', 'Cannot start: the release lists no content key')
  return entry.keyId
}

/** Fetches runtime keys from the release server in one Noise round trip, docs/spec/runtime-key.md. */
export class NoiseRuntimeKeys implements RuntimeKeyProvider {
  readonly #options: NoiseRuntimeKeysOptions
  readonly #directory: KeyDirectory

  constructor(options: NoiseRuntimeKeysOptions) {
    this.#options = options
    this.#directory =
      options.directory ??
      releaseServerDirectory(new URL(options.server).origin, {
        fetch: (url, init) => options.fetch(String(url), init ?? {}),
      })
  }

  /**
   * @throws RuntimeKeyError, NoiseKeysError, LauncherError: what the server said, when no cached key may take its
   * place.
   */
  async obtain(manifest: ReleaseManifest, manifestSha256: string, signal?: AbortSignal): Promise<RuntimeKey> {
    const { cache } = this.#options
    try {
      const key = await this.#ask(wantedKeyId(manifest), manifestSha256, signal)
      await this.#keep(key, manifest, manifestSha256)
      return key
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof KeyturnError) || error.kind === 'bug' || final.has(error.code)) throw error
      const cached = await cache?.get(manifestSha256)
      if (cached === undefined) throw error
      return cached
    }
  }

  async #keep(key: RuntimeKey, manifest: ReleaseManifest, manifestSha256: string): Promise<void> {
    try {
      assertListed(key, manifest.contentKeys)
      await this.#options.cache?.put(manifestSha256, key)
    } catch (error) {
      key.dispose()
      throw error
    }
  }

  /** Asks under the best usable key; a server that no longer knows it is looked up afresh, once. */
  async #ask(keyId: number, manifestSha256: string, signal: AbortSignal | undefined): Promise<RuntimeKey> {
    try {
      return await this.#exchange(await this.#serverKey(false, signal), keyId, manifestSha256, signal)
    } catch (error) {
      if (!(error instanceof NoiseKeysError) || error.code !== 'NK_KEY_UNKNOWN') throw error
      return await this.#exchange(await this.#serverKey(true, signal), keyId, manifestSha256, signal)
    }
  }

  async #floors(): Promise<KeyFloors> {
    const bytes = await readSmallFile(this.#options.fs, this.#options.floorsFile, MAX_FLOORS_BYTES)
    return bytes === undefined ? new KeyFloors() : KeyFloors.parse(bytes)
  }

  async #serverKey(fresh: boolean, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const floors = await this.#floors()
    let failure: unknown
    for (const name of this.#options.transport) {
      try {
        const verdicts = await lookUpKeys(this.#directory, parseIdentityName(name), floors, {
          nowS: Math.floor(this.#options.clock() / 1000),
          fresh,
          signal,
        })
        await writeSmallFile(this.#options.fs, this.#options.floorsFile, floors.format())
        const best = verdicts.find((verdict) => isUsable(verdict) && verdict.publicKey !== undefined)
        if (best?.publicKey !== undefined) return best.publicKey
        failure ??= new NoiseKeysError(
          verdicts[0]?.code ?? 'NK_NOT_FOUND',
          'The server has no transport key that may be used',
        )
      } catch (error) {
        signal?.throwIfAborted()
        failure ??= error
      }
    }
    throw failure ?? new NoiseKeysError('NK_NOT_FOUND', 'The role document names no transport identity')
  }

  async #exchange(
    serverStatic: Uint8Array,
    keyId: number,
    manifestSha256: string,
    signal: AbortSignal | undefined,
  ): Promise<RuntimeKey> {
    const device = await this.#options.device?.secret()
    const pattern = device === undefined ? 'NK' : 'IK'
    const header = writeExchangeHeader({ pattern, serverKeyHint: serverKeyHint(serverStatic) })
    const parties = {
      prologue: exchangePrologue(header),
      remoteStatic: serverStatic,
      ...(device !== undefined && { staticKey: noiseKeyPair(dh, device) }),
    }
    const question = askOnce(
      EXCHANGE_PROTOCOLS[pattern],
      parties,
      writeKeyRequest({ keyId, manifestSha256: hexDecode(manifestSha256) }),
    )
    try {
      const answer = await this.#post(concatBytes(header, question.message), signal)
      return openKeyAnswer(question.readAnswer(answer), keyId)
    } catch (error) {
      throw error instanceof RuntimeKeyError && error.code === 'RK_REFUSED' ? refused(error, pattern) : error
    } finally {
      question.dispose()
      wipe(device)
    }
  }

  async #post(body: Uint8Array<ArrayBuffer>, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const url = new URL('/noise/runtime-key', this.#options.server).href
    const timeout = AbortSignal.timeout(timeoutMs)
    let response: Response
    try {
      response = await this.#options.fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body,
        redirect: 'manual',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      })
    } catch (cause) {
      throw new LauncherError('LA_NETWORK', 'Cannot fetch the game key: the server does not answer', { cause })
    }
    if (response.status === 410)
      throw new NoiseKeysError('NK_KEY_UNKNOWN', 'The server does not use this transport key any more')
    if (response.status !== 200)
      throw new LauncherError('LA_HTTP_STATUS', `Cannot fetch the game key: the server answers ${response.status}`, {
        details: { status: response.status },
      })
    return await readAnswer(response)
  }
}

/** The server says no to this machine; what a player can do about it. */
function refused(cause: RuntimeKeyError, pattern: 'NK' | 'IK'): RuntimeKeyError {
  const whose = pattern === 'IK' ? 'this machine' : 'machines that have no name'
  return new RuntimeKeyError('RK_REFUSED', `Cannot start: the server gives no game key to ${whose}`, {
    hint: 'Send the publisher what keyturn-launcher device prints',
    cause,
  })
}

/** The answer, read piece by piece; reading stops at the first byte too many. */
async function readAnswer(response: Response): Promise<Uint8Array> {
  const answer = new Uint8Array(EXCHANGE_ANSWER_LENGTH)
  let length = 0
  try {
    for await (const bytes of response.body ?? []) {
      // leaving early cancels the body
      if (length + bytes.length > answer.length) throw sizeError(`more than ${answer.length}`)
      answer.set(bytes, length)
      length += bytes.length
    }
  } catch (cause) {
    if (cause instanceof LauncherError) throw cause
    throw new LauncherError('LA_NETWORK', 'Cannot fetch the game key: the answer broke off', { cause })
  }
  if (length !== answer.length) throw sizeError(String(length))
  return answer
}

function sizeError(came: string): LauncherError {
  return new LauncherError(
    'LA_SIZE',
    `Cannot fetch the game key: received ${came} bytes, expected ${EXCHANGE_ANSWER_LENGTH}`,
  )
}
