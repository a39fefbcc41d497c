import { MAX_PATH_BYTES, MAX_PATH_PARTS } from './limits.ts'

const SLASH = 0x2f
const DOT = 0x2e
const SPACE = 0x20

/** Marks a byte that is harmless and not its own fold. */
const UPPER_CASE = 2

/** Which bytes a path may hold anywhere in a part, without a second look. */
const harmless = new Uint8Array(256)
for (const character of "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-+()[]{}@!#$%&',;=^`~. ") {
  harmless[character.charCodeAt(0)] = character >= 'A' && character <= 'Z' ? UPPER_CASE : 1
}

/** How a part starts that could be the name of a Windows device. */
const suspects = new Set(
  ['con', 'prn', 'aux', 'nul', 'com', 'lpt'].map((name) =>
    startOf(name.charCodeAt(0), name.charCodeAt(1), name.charCodeAt(2)),
  ),
)

function startOf(first: number, second: number, third: number): number {
  return ((first | 0x20) << 16) | ((second | 0x20) << 8) | (third | 0x20)
}

/** Paths one after the other, to be decoded together. */
export interface PathBatch {
  readonly bytes: Uint8Array
  /** How much of it is used. */
  length: number
}

/**
 * Whether a path is beyond doubt, going by its bytes alone: plain ASCII that keeps every rule of docs/spec/m2pack.md
 * §4. Most paths are, and archives have a hundred thousand; the others are looked at by `checkPath`.
 *
 * @param copy - Where the path is copied to on the way, after what is there; of no meaning when the answer is `other`.
 * @returns `folded` for a path without upper case, which is its own fold; `plain` for another one beyond doubt.
 */
export function plainPathKind(
  bytes: Uint8Array,
  start: number,
  end: number,
  copy?: PathBatch,
): 'folded' | 'plain' | 'other' {
  if (end - start > MAX_PATH_BYTES || end === start) return 'other'
  const copied = copy?.bytes
  const copyAt = (copy?.length ?? 0) - start
  let isFolded = true
  let partStart = start
  let parts = 1
  for (let at = start; at <= end; at++) {
    const byte = at === end ? SLASH : (bytes[at] as number)
    if (copied !== undefined && at < end) copied[copyAt + at] = byte
    if (byte !== SLASH) {
      const allowed = harmless[byte]
      if (allowed === 0) return 'other'
      if (allowed === UPPER_CASE) isFolded = false
      continue
    }
    const last = bytes[at - 1]
    if (at === partStart || last === DOT || last === SPACE) return 'other'
    if (
      at - partStart >= 3 &&
      suspects.has(startOf(bytes[partStart] as number, bytes[partStart + 1] as number, bytes[partStart + 2] as number))
    )
      return 'other'
    partStart = at + 1
    if (at < end) parts++
  }
  if (parts > MAX_PATH_PARTS) return 'other'
  return isFolded ? 'folded' : 'plain'
}
