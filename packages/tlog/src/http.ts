import { collectBytes, hexEncode, sha256, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import type { TlogErrorCode } from './errors.ts'
import { MAX_ENTRY_BYTES, MAX_NOTE_BYTES, TILE_WIDTH } from './limits.ts'
import { parseSignatureLine } from './note.ts'
import type { NoteSignature } from './note.ts'
import { parseSize, quoted } from './text.ts'
import { tilePath } from './tile.ts'
import type { TileSource } from './tree.ts'
import { WitnessConflict } from './witness.ts'
import { formatWitnessRequest } from './witness-request.ts'
import type { WitnessRequest } from './witness-request.ts'

/** Options of everything here that uses the network. */
export interface TlogHttpOptions {
  /** Default: that of the platform. */
  readonly fetch?: typeof fetch | undefined
  /** Longest time of one request, milliseconds. Default: 10,000. */
  readonly timeoutMs?: number | undefined
  /** Ends requests early. */
  readonly signal?: AbortSignal | undefined
}

/** Largest bundle: 256 entries of the largest size. */
const MAX_BUNDLE_BYTES = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)

interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

async function request(url: string, init: RequestInit, maxBytes: number, options: TlogHttpOptions): Promise<Answer> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 10_000)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
  try {
    const response = await (options.fetch ?? fetch)(url, { ...init, redirect: 'error', signal })
    const tooLong = (): TlogError => new TlogError('TLOG_LIMIT', `Answer of ${quoted(url)} has over ${maxBytes} bytes`)
    return { status: response.status, body: await collectBytes(response.body, maxBytes, tooLong) }
  } catch (cause) {
    if (cause instanceof TlogError) throw cause
    throw new TlogError('TLOG_UNAVAILABLE', `Cannot fetch ${quoted(url)}`, { cause })
  }
}

/** A prefix without slashes at its end. */
const trimmed = (prefix: string): string => prefix.replace(/\/+$/, '')

async function get(url: string, maxBytes: number, options: TlogHttpOptions): Promise<Uint8Array> {
  const { status, body } = await request(url, {}, maxBytes, options)
  if (status !== 200)
    throw new TlogError('TLOG_UNAVAILABLE', `Cannot fetch ${quoted(url)}: status ${status}`, { details: { status } })
  return body
}

/**
 * Fetches the checkpoint of a log; not verified.
 *
 * @param prefix - Where the log is: `https://releases.example.com/v1/log`.
 */
export async function fetchCheckpoint(prefix: string, options: TlogHttpOptions = {}): Promise<Uint8Array> {
  return await get(`${trimmed(prefix)}/checkpoint`, MAX_NOTE_BYTES, options)
}

/**
 * The tiles of a log over HTTP. A log may drop a partial tile once it is full: the full one is asked for then.
 *
 * @param prefix - Where the log is.
 */
export function httpTileSource(prefix: string, options: TlogHttpOptions = {}): TileSource {
  return {
    read: async (tile) => {
      const maxBytes = tile.level === 'entries' ? MAX_BUNDLE_BYTES : TILE_WIDTH * 32
      const url = `${trimmed(prefix)}/${tilePath(tile)}`
      const { status, body } = await request(url, {}, maxBytes, options)
      if (status === 200) return body
      if (status === 404 && tile.width < TILE_WIDTH) {
        return await get(`${trimmed(prefix)}/${tilePath({ ...tile, width: TILE_WIDTH })}`, maxBytes, options)
      }
      throw new TlogError('TLOG_UNAVAILABLE', `Cannot fetch ${quoted(url)}: status ${status}`, { details: { status } })
    },
  }
}

const REFUSALS: Readonly<Record<number, TlogErrorCode>> = {
  400: 'TLOG_PROOF',
  403: 'TLOG_SIGNATURE',
  404: 'TLOG_UNKNOWN_LOG',
  422: 'TLOG_CONSISTENCY',
}

/**
 * Asks a witness to sign a checkpoint. Its answer counts only once the signature verifies.
 *
 * @param prefix - Submission prefix of the witness.
 * @returns The signature lines of the answer.
 * @throws {@link WitnessConflict} when the witness has seen another size; {@link TlogError} `TLOG_UNAVAILABLE`, or the
 *   code of the refusal.
 */
export async function askWitness(
  prefix: string,
  asked: WitnessRequest & { readonly origin: string },
  options: TlogHttpOptions = {},
): Promise<NoteSignature[]> {
  const url = `${trimmed(prefix)}/add-checkpoint`
  const { status, body } = await request(
    url,
    { method: 'POST', body: formatWitnessRequest(asked) },
    MAX_NOTE_BYTES,
    options,
  )
  const text = textOfAnswer(body)
  if (status === 200) {
    return text
      .trimEnd()
      .split('\n')
      .map((line) => parseSignatureLine(line))
  }
  const size = status === 409 ? parseSize(text.trimEnd()) : undefined
  if (size !== undefined) throw new WitnessConflict(asked.origin, size)
  throw new TlogError(
    REFUSALS[status] ?? 'TLOG_UNAVAILABLE',
    `Witness at ${quoted(prefix)} answers ${status}: ${quoted(text)}`,
    {
      details: { status },
    },
  )
}

function textOfAnswer(body: Uint8Array): string {
  try {
    return utf8Decode(body)
  } catch {
    return ''
  }
}

/**
 * Fetches the last checkpoint of a log that a witness has signed; not verified.
 *
 * @param prefix - Monitoring prefix of the witness.
 */
export async function fetchWitnessed(
  prefix: string,
  origin: string,
  options: TlogHttpOptions = {},
): Promise<Uint8Array> {
  return await get(`${trimmed(prefix)}/${originHash(origin)}/checkpoint`, MAX_NOTE_BYTES, options)
}

/** How an origin is named in the address of a witness: SHA-256 in hex. */
export function originHash(origin: string): string {
  return hexEncode(sha256(utf8Encode(origin)))
}
