import { base64Encode, concatBytes, utf8Encode } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { MAX_REQUEST_BYTES } from './limits.ts'
import { parseHashLines } from './proof.ts'
import { parseSize, quoted, textOf } from './text.ts'

/** What a log sends to a witness, c2sp.org/tlog-witness `add-checkpoint`. */
export interface WitnessRequest {
  /** Size that the witness has signed last, as the log believes; 0 for none. */
  readonly oldSize: number
  /** Consistency proof from that size. */
  readonly hashes: readonly Uint8Array[]
  /** Bytes of the new checkpoint, a signed note. */
  readonly checkpoint: Uint8Array
}

/** The body of a request. */
export function formatWitnessRequest({ oldSize, hashes, checkpoint }: WitnessRequest): Uint8Array<ArrayBuffer> {
  const lines = [`old ${oldSize}`, ...hashes.map((hash) => base64Encode(hash)), '']
  return concatBytes(utf8Encode(lines.map((line) => `${line}\n`).join('')), checkpoint)
}

/**
 * Reads the body of a request: shape only.
 *
 * @throws {@link TlogError} `TLOG_PROOF`, `TLOG_LIMIT`.
 */
export function parseWitnessRequest(bytes: Uint8Array): WitnessRequest {
  const text = textOf(bytes, MAX_REQUEST_BYTES, 'request', 'TLOG_PROOF')
  const split = text.indexOf('\n\n')
  const [first = '', ...lines] = split < 0 ? [] : text.slice(0, split).split('\n')
  const oldSize = first.startsWith('old ') ? parseSize(first.slice('old '.length)) : undefined
  if (oldSize === undefined) {
    throw new TlogError('TLOG_PROOF', `Cannot read request: ${quoted(first)}, expected "old <size>"`)
  }
  return { oldSize, hashes: parseHashLines(lines, 'request'), checkpoint: utf8Encode(text.slice(split + 2)) }
}
