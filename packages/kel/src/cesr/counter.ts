import { quoted, refusal } from '../rule.ts'
import { alphabet, counterKindsV1 } from './codes.ts'
import type { CounterKind } from './codes.ts'

const MAX_SMALL_COUNT = 4095

/** Writes a version 1 counter such as `-AAB`; large counts take the long form `--VAAAAA`. */
export function encodeCounter(letter: string, count: number): string {
  const length = count > MAX_SMALL_COUNT ? 5 : 2
  let text = ''
  for (let i = length - 1; i >= 0; i--) text += alphabet[Math.floor(count / 64 ** i) % 64]
  return (length === 5 ? '--' : '-') + letter + text
}

/**
 * Reads the counter at `offset`.
 *
 * @throws {@link KelError} `KEL_CESR` for unknown groups and for the genus marker of CESR version 2.
 */
export function readCounter(text: string, offset: number): { kind: CounterKind; count: number; end: number } {
  const big = text.startsWith('--', offset)
  const letterAt = offset + (big ? 2 : 1)
  const end = letterAt + 1 + (big ? 5 : 2)
  const letter = text[letterAt] ?? ''
  const kind = text[offset] === '-' ? counterKindsV1.get(letter) : undefined
  if (kind === undefined || end > text.length) {
    throw refusal(
      'KEL_CESR',
      `Unknown attachment group ${quoted(text.slice(offset, offset + 4))} at character ${offset}`,
    )
  }
  let count = 0
  for (let i = letterAt + 1; i < end; i++) {
    const digit = alphabet.indexOf(text[i] ?? '')
    if (digit < 0) throw refusal('KEL_CESR', `Counter at character ${offset} has a digit that is not Base64url`)
    count = count * 64 + digit
  }
  return { kind, count, end }
}
