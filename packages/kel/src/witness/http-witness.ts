import { concatBytes, parseStrictJson, printable } from '@keyturn/primitives'
import { KelError, kelErrors } from '../errors.ts'
import type { KelErrorCode } from '../errors.ts'
import { parseKeyText } from '../keys.ts'
import { MAX_LOG_BYTES } from '../limits.ts'
import { quoted } from '../rule.ts'
import type { EventPlace, Witness } from '../witness.ts'

/** Options of {@link httpWitness} and {@link discoverWitness}. */
export interface HttpWitnessOptions {
  /** Default: that of the platform. */
  readonly fetch?: typeof fetch | undefined
  /** Default: 10,000. */
  readonly timeoutMs?: number | undefined
  /** Largest answer that is read, bytes. Default: 4 MiB. */
  readonly maxBytes?: number | undefined
}

interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

/** Reads an answer up to a limit: a witness is not trusted to be brief. */
async function readBody(response: Response, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > maxBytes) throw new KelError('KEL_LIMIT', `Answer of a witness is larger than ${maxBytes} bytes`)
    parts.push(part)
  }
  return concatBytes(...parts)
}

async function request(url: string, init: RequestInit, options: HttpWitnessOptions): Promise<Answer> {
  const signal = AbortSignal.timeout(options.timeoutMs ?? 10_000)
  try {
    const response = await (options.fetch ?? fetch)(url, { ...init, redirect: 'error', signal })
    return { status: response.status, body: await readBody(response, options.maxBytes ?? MAX_LOG_BYTES) }
  } catch (cause) {
    if (cause instanceof KelError) throw cause
    throw new KelError('KEL_UNAVAILABLE', `Witness at ${quoted(url)} does not answer`, { cause })
  }
}

function textField(body: Uint8Array, name: string): string | undefined {
  try {
    const value = parseStrictJson(body, { maxBytes: 64 * 1024 })
    const field = typeof value === 'object' && value !== null && !Array.isArray(value) ? value[name] : undefined
    return typeof field === 'string' ? field : undefined
  } catch {
    return undefined
  }
}

/**
 * What a witness says when it refuses: the code of the rule where it gives one (problem+json), else that it does not
 * serve.
 */
function refused(url: string, { status, body }: Answer): KelError {
  const code = textField(body, 'code') ?? ''
  const detail = printable((textField(body, 'detail') ?? '').slice(0, 400))
  const known = Object.hasOwn(kelErrors, code) ? (code as KelErrorCode) : 'KEL_UNAVAILABLE'
  return new KelError(known, `Witness at ${quoted(url)} answers ${status}${detail === '' ? '' : `: ${detail}`}`, {
    details: { status },
  })
}

/**
 * A witness reached over HTTP: `POST <url>/receipts` with the log as `application/cesr`, answered by 200 with receipts
 * or 202; `GET <url>/receipts?pre=&sn=`. Nothing it says counts before its signature verifies: see {@link
 * collectReceipts}.
 *
 * @param url - Address of the witness, for a release server `https://…/witness`.
 * @param prefix - Who must be there.
 */
export function httpWitness(url: string, prefix: string, options: HttpWitnessOptions = {}): Witness {
  const base = url.replace(/\/+$/, '')
  return {
    prefix,
    async submit(log) {
      const body = log as Uint8Array<ArrayBuffer>
      const answer = await request(
        `${base}/receipts`,
        { method: 'POST', headers: { 'content-type': 'application/cesr' }, body },
        options,
      )
      if (answer.status === 202) return undefined
      if (answer.status !== 200) throw refused(base, answer)
      return answer.body
    },
    async find({ prefix: pre, sn }: EventPlace) {
      const answer = await request(`${base}/receipts?${new URLSearchParams({ pre, sn: String(sn) })}`, {}, options)
      if (answer.status === 404) return undefined
      if (answer.status !== 200) throw refused(base, answer)
      return answer.body
    },
  }
}

/**
 * Asks a release server which witness it is: `GET <url>` answers with its prefix.
 *
 * @throws {@link KelError} `KEL_UNAVAILABLE` when there is no witness.
 */
export async function discoverWitness(url: string, options: HttpWitnessOptions = {}): Promise<Witness> {
  const answer = await request(url, {}, options)
  const prefix = answer.status === 200 ? textField(answer.body, 'prefix') : undefined
  if (prefix === undefined || !prefix.startsWith('B')) throw refused(url, answer)
  parseKeyText(prefix)
  return httpWitness(url, prefix, options)
}
