import { parseManifest } from '@keyturn/manifest'
import type { ContentKey } from '@keyturn/manifest'
import { isHandshakeFailure, receiveOnce } from '@keyturn/noise-keys/noise'
import type { ReceivedQuestion } from '@keyturn/noise-keys/noise'
import { NoiseKeysError } from '@keyturn/noise-keys'
import {
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  parseExchangeRequest,
  parseKeyRequest,
  parseRuntimeKeyBlob,
  RuntimeKeyError,
  writeKeyAnswer,
} from '@keyturn/runtime-key'
import type { ExchangeRefusal, KeyRequest, RuntimeKey } from '@keyturn/runtime-key'
import { hexEncode, wipe } from '@keyturn/primitives'
import type { Vault } from '@keyturn/vault-kdf'
import { VaultError } from '@keyturn/vault-kdf'
import type { ReleaseView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { readProduct, rolesInForce } from '../releases/products.ts'
import { channelsOf, readChannel } from '../releases/channels.ts'
import { ServerError } from '../errors.ts'
import { readManifestBytes, releaseOfManifest } from '../releases/releases.ts'
import { isDeviceAllowed } from './device-routes.ts'
import type { ServerKey, ServerKeys } from './server-keys.ts'

/** What the exchange of runtime keys needs. */
export interface ExchangeParts {
  readonly context: ServerContext
  readonly vault: Vault
  readonly keys: ServerKeys
  /** Called with the outcome of each exchange, for the counters: a status or an error code. */
  readonly onOutcome: (outcome: string) => void
}

const RETRY_AFTER_S = 60
/** A launcher asks again within a day, whatever the date: it may be moved. */
const MAX_RETRY_AFTER_S = 86_400

/** Vault cell of the runtime keys of a product. */
export function runtimeKeyCell(vault: Vault, product: string): ReturnType<ReturnType<Vault['partition']>['cell']> {
  return vault.partition('runtime-keys').cell(product)
}

function handshakeRefused(): NoiseKeysError {
  return new NoiseKeysError('NK_HANDSHAKE', 'The handshake cannot be read')
}

/**
 * One exchange: request in, 140 bytes out, the same for yes and no. Nothing is remembered but a counter, so a replayed
 * request changes nothing, and each answer is under fresh ephemeral keys.
 *
 * @throws NoiseKeysError `NK_HANDSHAKE` for anything that cannot be read, `NK_KEY_UNKNOWN` for a key that is not in
 *   use.
 */
export async function answerExchange(parts: ExchangeParts, request: Uint8Array): Promise<Uint8Array> {
  const parsed = parsedRequest(request)
  const key = await parts.keys.find(parsed.serverKeyHint)
  if (key === undefined) throw new NoiseKeysError('NK_KEY_UNKNOWN', 'The server does not use this key (any more)')
  const question = openQuestion(parsed, key)
  try {
    const wanted = readWanted(question.payload)
    const found = await decide(parts, key, wanted, question.remoteStatic)
    parts.onOutcome(typeof found === 'string' ? found : 'given')
    const payload =
      typeof found === 'string'
        ? writeKeyAnswer({
            refusal: found,
            ...(found === 'RK_UNAVAILABLE' ? { retryAfterS: RETRY_AFTER_S } : {}),
            ...(found === 'RK_NOT_YET' ? { retryAfterS: await secondsUntil(parts, wanted) } : {}),
          })
        : writeKeyAnswer({ runtimeKey: found })
    if (typeof found !== 'string') found.dispose()
    try {
      return question.answer(payload)
    } finally {
      wipe(payload)
    }
  } finally {
    question.dispose()
  }
}

function parsedRequest(request: Uint8Array): ReturnType<typeof parseExchangeRequest> {
  try {
    return parseExchangeRequest(request)
  } catch (error) {
    if (error instanceof RuntimeKeyError) throw handshakeRefused()
    throw error
  }
}

function openQuestion(
  { pattern, header, message }: ReturnType<typeof parseExchangeRequest>,
  key: ServerKey,
): ReceivedQuestion {
  try {
    return receiveOnce(
      EXCHANGE_PROTOCOLS[pattern],
      { staticKey: key.pair, prologue: exchangePrologue(header) },
      message,
    )
  } catch (error) {
    if (isHandshakeFailure(error)) throw handshakeRefused()
    throw error
  }
}

function readWanted(payload: Uint8Array): KeyRequest {
  try {
    return parseKeyRequest(payload)
  } catch (error) {
    if (error instanceof RuntimeKeyError) throw handshakeRefused()
    throw error
  }
}

async function decide(
  parts: ExchangeParts,
  key: ServerKey,
  wanted: KeyRequest,
  device: Uint8Array | undefined,
): Promise<RuntimeKey | ExchangeRefusal> {
  const { context, vault } = parts
  const release = await releaseOfManifest(context.metadata, hexEncode(wanted.manifestSha256))
  if (release === undefined || release.state === 'retired') return 'RK_RELEASE_UNKNOWN'
  const roles = await rolesInForce(context.metadata, release.product)
  if (!roles.transport.includes(key.identity)) return 'RK_REFUSED'
  if (!(await mayHave(context, release.product, device))) return 'RK_REFUSED'
  if (!(await isListed(context, release, wanted.keyId))) return 'RK_KEY_ID_UNKNOWN'
  if (release.state === 'draft' || (await isScheduled(context, release))) return 'RK_NOT_YET'
  return openKey(parts, vault, release.product, wanted.keyId)
}

/** The release is on its channel to be fetched ahead, and its time has not come, whatever else was published of it. */
async function isScheduled(context: ServerContext, { product, channel, sha256 }: ReleaseView): Promise<boolean> {
  const preload = (await readChannel(context.metadata, product, channel))?.preload
  return preload?.sha256 === sha256 && context.clock() < Date.parse(preload.at)
}

/** Until the date of a scheduled release; a minute for any other that is not offered. */
async function secondsUntil({ context }: ExchangeParts, { manifestSha256 }: KeyRequest): Promise<number> {
  const release = await releaseOfManifest(context.metadata, hexEncode(manifestSha256))
  const preload = release && (await readChannel(context.metadata, release.product, release.channel))?.preload
  if (release === undefined || preload?.sha256 !== release.sha256) return RETRY_AFTER_S
  const seconds = Math.ceil((Date.parse(preload.at) - context.clock()) / 1000)
  return Math.min(Math.max(seconds, 1), MAX_RETRY_AFTER_S)
}

/**
 * Refuses a runtime key whose release is scheduled for later: a server that does not have it cannot lose it.
 *
 * @throws ServerError `SRV_NOT_YET`.
 */
export async function refuseEarlyKey(context: ServerContext, product: string, keyId: number): Promise<void> {
  for (const { preload, channel } of await channelsOf(context.metadata, product)) {
    if (preload === null || context.clock() >= Date.parse(preload.at)) continue
    const scheduled = (await contentKeys(context, preload)).some(
      (key) => key.keyId === keyId && key.status === 'active',
    )
    if (scheduled)
      throw new ServerError(
        'SRV_NOT_YET',
        `Runtime key ${keyId} is of release ${preload.version} on channel "${channel}", which opens at ${preload.at}`,
      )
  }
}

/**
 * `open`: everybody; `devices`: only static keys that the operator or a listed identity named, read again each time.
 */
async function mayHave(context: ServerContext, product: string, device: Uint8Array | undefined): Promise<boolean> {
  const { runtime_key_access: access } = await readProduct(context.metadata, product)
  if (access === 'open') return true
  return device !== undefined && (await isDeviceAllowed(context.metadata, product, device))
}

/** Listed in the manifest that was asked about, and revoked neither there nor in what the channel offers now. */
async function isListed(context: ServerContext, release: ReleaseView, keyId: number): Promise<boolean> {
  const own = (await contentKeys(context, release)).find((entry) => entry.keyId === keyId)
  if (own === undefined || own.status === 'revoked') return false
  const current = (await readChannel(context.metadata, release.product, release.channel))?.manifest
  if (current === null || current === undefined || current.sha256 === release.sha256) return true
  return !(await contentKeys(context, current)).some((entry) => entry.keyId === keyId && entry.status === 'revoked')
}

const remembered = new Map<string, readonly ContentKey[]>()

/** Content keys of a manifest; manifests never change, so they are read once. */
async function contentKeys(
  context: ServerContext,
  pin: { readonly sha256: string; readonly length: number },
): Promise<readonly ContentKey[]> {
  const known = remembered.get(pin.sha256)
  if (known !== undefined) return known
  const keys = parseManifest(await readManifestBytes(context, pin)).contentKeys
  if (remembered.size > 1000) remembered.clear()
  remembered.set(pin.sha256, keys)
  return keys
}

async function openKey(
  parts: ExchangeParts,
  vault: Vault,
  product: string,
  keyId: number,
): Promise<RuntimeKey | ExchangeRefusal> {
  try {
    const blob = await runtimeKeyCell(vault, product).open(String(keyId))
    try {
      return parseRuntimeKeyBlob(blob)
    } finally {
      wipe(blob)
    }
  } catch (error) {
    if (error instanceof VaultError && error.code === 'VK_NOT_FOUND') return 'RK_KEY_ID_UNKNOWN'
    parts.context.log.error(
      { code: error instanceof VaultError ? error.code : 'RK_UNAVAILABLE', product, key_id: keyId },
      'a runtime key could not be opened',
    )
    return 'RK_UNAVAILABLE'
  }
}
