import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  base64Decode,
  base64Encode,
  canonicalJson,
  isRecord,
  parseStrictJson,
  sha256Hex,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { isMissing, writeFileAtomic } from '@keyturn/primitives/node'
import { initialTrustState, parseTrustRoot, parseTrustState, writeTrustState } from '@keyturn/manifest'
import type { ManifestPin, TrustState } from '@keyturn/manifest'
import { ServerError } from '../errors.ts'
import { isSlug } from '../public/paths.ts'
import { listOf, numeric, object, optional, text, whole } from '../storage/shape.ts'

/** The last head that the signer signed on a channel. */
export interface SignedHead {
  readonly sequence: number
  /** SHA-256 of its payload. */
  readonly sha256: string
  /** The whole envelope. */
  readonly head: Uint8Array
}

/** What a head signer remembers about one channel, so that a lying server cannot roll it back. */
export interface SignerState {
  /** What it accepted from the public tree. */
  readonly trust: TrustState
  /** Highest manifest sequence that a head in force pinned, within its epoch. */
  readonly manifest?: { readonly epoch: number; readonly sequence: number } | undefined
  /** `issued_at` of the newest head that it did not sign itself, milliseconds since 1970. */
  readonly publisherMs?: number | undefined
  readonly signed?: SignedHead | undefined
  /** Releases that everybody was offered, oldest first, at most {@link MAX_OFFERED}. */
  readonly offered?: readonly ManifestPin[] | undefined
}

/** How many of the releases that were offered are remembered. */
export const MAX_OFFERED = 20

const MAX_STATE_BYTES = 4 * 1024 * 1024

function stateFile({ folder, product, channel }: SignerPlace): string {
  if (!isSlug(product) || !isSlug(channel))
    throw new ServerError('SRV_REQUEST', 'The head names no product or channel of a release server')
  return join(folder, product, `${channel}.json`)
}

/** Which channel of which identity a state is about. */
export interface SignerPlace {
  readonly folder: string
  readonly product: string
  readonly channel: string
  readonly pin: string
}

interface StoredState {
  readonly pin: string
  readonly trust: string
  readonly manifest?: { readonly epoch: number; readonly sequence: number } | undefined
  readonly publisher_ms?: number | undefined
  readonly signed?: { readonly sequence: number; readonly sha256: string; readonly head: string } | undefined
  readonly offered?: readonly ManifestPin[] | undefined
  /** SHA-256 of the canonical JSON of the rest; a state of an earlier version has none. */
  readonly sum?: string | undefined
}

const manifestPin = object<ManifestPin>({ version: text, sequence: whole, sha256: text, length: whole })

const storedState = object<StoredState>({
  pin: text,
  trust: text,
  manifest: optional(object<NonNullable<StoredState['manifest']>>({ epoch: whole, sequence: whole })),
  publisher_ms: optional(numeric),
  signed: optional(object<NonNullable<StoredState['signed']>>({ sequence: whole, sha256: text, head: text })),
  offered: optional(listOf(manifestPin)),
  sum: optional(text),
})

function sumOf({ sum: _sum, ...rest }: JsonObject): string {
  return sha256Hex(utf8Encode(canonicalJson(rest)))
}

function parseState(bytes: Uint8Array): StoredState {
  const value = parseStrictJson(bytes, { maxBytes: MAX_STATE_BYTES })
  const stored = storedState(value, '')
  if (stored.sum !== undefined && (!isRecord(value) || stored.sum !== sumOf(value)))
    throw new ServerError('SRV_STORAGE', 'The state of the head signer is damaged: its checksum does not match')
  return stored
}

function readState(bytes: Uint8Array, pin: string): SignerState {
  const stored = parseState(bytes)
  if (stored.pin !== pin) throw new ServerError('SRV_CONFIG', 'The state of the head signer belongs to another pin')
  const { manifest, publisher_ms: publisherMs, signed, offered } = stored
  return {
    trust: parseTrustState(base64Decode(stored.trust)),
    manifest,
    publisherMs,
    offered,
    signed: signed === undefined ? undefined : { ...signed, head: base64Decode(signed.head) },
  }
}

/**
 * Reads what is remembered about a channel; a channel that was never seen starts from the pin. An unreadable file is
 * never mistaken for a missing one.
 *
 * @throws ServerError `SRV_STORAGE`, `SRV_CONFIG` for the state of another pin.
 */
export async function loadSignerState(place: SignerPlace): Promise<SignerState> {
  const file = stateFile(place)
  try {
    return readState(await readFile(file), place.pin)
  } catch (cause) {
    if (isMissing(cause)) return { trust: initialTrustState(parseTrustRoot(place.pin)) }
    if (cause instanceof ServerError) throw cause
    throw new ServerError('SRV_STORAGE', 'The state of the head signer is damaged or cannot be read', { cause })
  }
}

/** Writes what is to be remembered about a channel; durable once it returns. */
export async function saveSignerState(place: SignerPlace, state: SignerState): Promise<void> {
  const file = stateFile(place)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const { manifest, publisherMs, signed, offered } = state
  const value = {
    pin: place.pin,
    trust: base64Encode(writeTrustState(state.trust)),
    ...(manifest === undefined ? {} : { manifest: { ...manifest } }),
    ...(publisherMs === undefined ? {} : { publisher_ms: publisherMs }),
    ...(offered === undefined ? {} : { offered: offered.map((pin) => ({ ...pin })) }),
    ...(signed === undefined
      ? {}
      : { signed: { sequence: signed.sequence, sha256: signed.sha256, head: base64Encode(signed.head) } }),
  }
  await writeFileAtomic(file, utf8Encode(canonicalJson({ ...value, sum: sumOf(value) })), { mode: 0o600 })
}

/**
 * The files of a state folder that do not hold a whole state.
 *
 * @param folder - As in {@link SignerPlace}; it may be missing.
 */
export async function findDamagedStates(folder: string): Promise<string[]> {
  const damaged: string[] = []
  const names = await readdir(folder, { recursive: true }).catch((error: unknown): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  for (const name of names.filter((one) => one.endsWith('.json')).toSorted()) {
    const file = join(folder, name)
    try {
      const { pin, trust } = parseState(await readFile(file))
      parseTrustRoot(pin)
      parseTrustState(base64Decode(trust))
    } catch {
      damaged.push(file)
    }
  }
  return damaged
}
