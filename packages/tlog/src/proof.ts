import { base64Encode, concatBytes, utf8Encode } from '@keyturn/primitives'
import { checkCheckpoint } from './check-checkpoint.ts'
import type { PolicyCheckpoint } from './check-checkpoint.ts'
import { TlogError } from './errors.ts'
import { MAX_PROOF_BYTES, MAX_PROOF_EXTRA_BYTES, MAX_PROOF_HASHES } from './limits.ts'
import { verifyInclusion } from './merkle.ts'
import type { Policy } from './policy.ts'
import { parseHash, parseSize, quoted, textOf, tryBase64 } from './text.ts'

const FIRST_LINE = 'c2sp.org/tlog-proof@v1'

/** That an entry is in a log, for use without a network: c2sp.org/tlog-proof. Parsed, not verified. */
export interface LogProof {
  /** Place of the entry. */
  readonly index: number
  /** Inclusion proof, 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
  /** Bytes of the checkpoint, a signed note. */
  readonly checkpoint: Uint8Array
  /** Opaque bytes of the application, proved by nothing. */
  readonly extra: Uint8Array | undefined
}

/** The bytes of a proof file. */
export function formatProof({ index, hashes, checkpoint, extra }: LogProof): Uint8Array<ArrayBuffer> {
  const lines = [
    FIRST_LINE,
    ...(extra === undefined ? [] : [`extra ${base64Encode(extra)}`]),
    `index ${index}`,
    ...hashes.map((hash) => base64Encode(hash)),
    '',
  ]
  return concatBytes(utf8Encode(lines.map((line) => `${line}\n`).join('')), checkpoint)
}

function parseExtra(line: string): Uint8Array {
  const extra = tryBase64(line.slice('extra '.length))
  if (extra === undefined || extra.length === 0)
    throw new TlogError('TLOG_PROOF', 'Cannot read proof: extra is not base64')
  if (extra.length > MAX_PROOF_EXTRA_BYTES) {
    throw new TlogError(
      'TLOG_LIMIT',
      `Cannot read proof: extra has ${extra.length} bytes, limit ${MAX_PROOF_EXTRA_BYTES}`,
    )
  }
  return extra
}

/** Lines that are hashes in base64, at most 63. */
export function parseHashLines(lines: readonly string[], what: string): Uint8Array[] {
  if (lines.length > MAX_PROOF_HASHES) {
    throw new TlogError('TLOG_LIMIT', `Cannot read ${what}: ${lines.length} hashes, limit ${MAX_PROOF_HASHES}`)
  }
  return lines.map((line) => {
    const hash = parseHash(line)
    if (hash === undefined)
      throw new TlogError('TLOG_PROOF', `Cannot read ${what}: ${quoted(line)} is not a hash in base64`)
    return hash
  })
}

/**
 * Reads a proof file: shape only.
 *
 * @throws {@link TlogError} `TLOG_PROOF`, `TLOG_LIMIT`. The checkpoint in it is read when it is verified.
 */
export function parseProof(bytes: Uint8Array): LogProof {
  const text = textOf(bytes, MAX_PROOF_BYTES, 'proof', 'TLOG_PROOF')
  const split = text.indexOf('\n\n')
  const [first, ...lines] = split < 0 ? [] : text.slice(0, split).split('\n')
  if (first !== FIRST_LINE) {
    throw new TlogError(
      'TLOG_PROOF',
      `Cannot read proof: its first line is ${quoted(first ?? '')}, expected "${FIRST_LINE}"`,
    )
  }
  const extra = lines[0]?.startsWith('extra ') === true ? parseExtra(lines.shift() as string) : undefined
  const indexLine = lines.shift() ?? ''
  const index = indexLine.startsWith('index ') ? parseSize(indexLine.slice('index '.length)) : undefined
  if (index === undefined) {
    throw new TlogError('TLOG_PROOF', `Cannot read proof: ${quoted(indexLine)}, expected "index <number>"`)
  }
  const checkpoint = utf8Encode(text.slice(split + 2))
  return { index, hashes: parseHashLines(lines, 'proof'), checkpoint, extra }
}

/** A proof that holds. */
export interface CheckedProof extends PolicyCheckpoint {
  /** Place of the entry. */
  readonly index: number
}

/**
 * Verifies that an entry is in a log of the policy, and says which witnesses have seen that log. `quorum` of the result
 * is false when they are not enough: use {@link verifyProof} unless you have a use for such a proof.
 *
 * @param bytes - The proof file.
 * @param leafHash - From `hashLeaf` of what the reader expects to be in the log, never of anything in the proof.
 * @throws {@link TlogError} those of {@link parseProof} and `checkCheckpoint`, and `TLOG_INCLUSION`.
 */
export function checkProof(bytes: Uint8Array, leafHash: Uint8Array, policy: Policy): CheckedProof {
  const { index, hashes, checkpoint } = parseProof(bytes)
  const checked = checkCheckpoint(checkpoint, policy)
  verifyInclusion({ leafHash, index, size: checked.size, root: checked.root }, hashes)
  return { ...checked, index }
}

/**
 * Verifies that an entry is in a log of the policy and that a quorum of its witnesses has seen that log.
 *
 * @param bytes - The proof file.
 * @param leafHash - From `hashLeaf` of what the reader expects to be in the log, never of anything in the proof.
 * @throws {@link TlogError} those of {@link checkProof}, and `TLOG_QUORUM`.
 */
export function verifyProof(bytes: Uint8Array, leafHash: Uint8Array, policy: Policy): CheckedProof {
  const checked = checkProof(bytes, leafHash, policy)
  if (!checked.quorum) {
    const names = checked.witnesses.map(({ name }) => name)
    throw new TlogError(
      'TLOG_QUORUM',
      `Checkpoint of ${checked.size} entries is signed by ${names.length} of ${policy.witnesses.length} witnesses, ` +
        `and the quorum ${quoted(policy.quorum)} is not met`,
      { details: { signed: names.length, witnesses: policy.witnesses.length } },
    )
  }
  return checked
}
