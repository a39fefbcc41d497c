import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { base64Decode, base64Encode, canonicalJson, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { initialTrustState, parseTrustRoot, parseTrustState, writeTrustState } from '@keyturn/manifest'
import type { TrustState } from '@keyturn/manifest'
import { ServerError } from '../errors.ts'
import { isSlug } from '../public/paths.ts'

/** The last head that the signer signed on a channel. */
export interface SignedHead {
  readonly sequence: number
  /** SHA-256 of its payload. */
  readonly sha256: string
  /** The whole envelope. */
  readonly head: Uint8Array
}

/** What a head signer remembers of one channel, so that a lying server cannot lead it back. */
export interface SignerState {
  /** What it accepted of the public tree. */
  readonly trust: TrustState
  /** Highest manifest sequence that a head in force pinned, within its epoch. */
  readonly manifest?: { readonly epoch: number; readonly sequence: number }
  /** `issued_at` of the newest head that it did not sign itself, milliseconds since 1970. */
  readonly publisherMs?: number
  readonly signed?: SignedHead
}

const maxBytes = 4 * 1024 * 1024

function stateFile(folder: string, product: string, channel: string): string {
  if (!isSlug(product) || !isSlug(channel))
    throw new ServerError('SRV_REQUEST', 'The head names no product or channel of a release server')
  return join(folder, product, `${channel}.json`)
}

function readState(bytes: Uint8Array, pin: string): SignerState {
  const value = parseStrictJson(bytes, { maxBytes }) as JsonObject
  if (value['pin'] !== pin) throw new ServerError('SRV_CONFIG', 'The state of the head signer belongs to another pin')
  const {
    manifest,
    publisher_ms: publisherMs,
    signed,
  } = value as unknown as {
    manifest?: { epoch: number; sequence: number }
    publisher_ms?: number
    signed?: { sequence: number; sha256: string; head: string }
  }
  const numbers = [publisherMs ?? 0, manifest?.epoch ?? 0, manifest?.sequence ?? 0, signed?.sequence ?? 0]
  if (!numbers.every((each) => Number.isSafeInteger(each))) throw new RangeError('no integer')
  return {
    trust: parseTrustState(base64Decode(String(value['trust']))),
    ...(manifest === undefined ? {} : { manifest }),
    ...(publisherMs === undefined ? {} : { publisherMs }),
    ...(signed === undefined ? {} : { signed: { ...signed, head: base64Decode(signed.head) } }),
  }
}

/**
 * Reads what is remembered of a channel; a channel that was never seen starts from the pin. A file that cannot be read
 * is never taken for none.
 *
 * @throws ServerError `SRV_STORAGE`, `SRV_CONFIG` for the state of another pin.
 */
export async function loadSignerState(
  folder: string,
  product: string,
  channel: string,
  pin: string,
): Promise<SignerState> {
  const file = stateFile(folder, product, channel)
  try {
    return readState(await readFile(file), pin)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { trust: initialTrustState(parseTrustRoot(pin)) }
    if (cause instanceof ServerError) throw cause
    throw new ServerError('SRV_STORAGE', 'The state of the head signer is damaged or cannot be read', { cause })
  }
}

/** Writes what is to be remembered of a channel; durable once it returns. */
export async function saveSignerState(
  folder: string,
  product: string,
  channel: string,
  pin: string,
  state: SignerState,
): Promise<void> {
  const file = stateFile(folder, product, channel)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const { manifest, publisherMs, signed } = state
  const value = {
    pin,
    trust: base64Encode(writeTrustState(state.trust)),
    ...(manifest === undefined ? {} : { manifest: { ...manifest } }),
    ...(publisherMs === undefined ? {} : { publisher_ms: publisherMs }),
    ...(signed === undefined
      ? {}
      : { signed: { sequence: signed.sequence, sha256: signed.sha256, head: base64Encode(signed.head) } }),
  }
  await writeFileAtomic(file, utf8Encode(canonicalJson(value as JsonObject)), { mode: 0o600 })
}
