import { MAX_PATH_BYTES, MAX_PATH_PARTS } from './limits.ts'

const SLASH = 0x2f
const DOT = 0x2e
const SPACE = 0x20

/** Which bytes a path may hold anywhere in a part, without a second look. */
const harmless = new Uint8Array(256)
for (const character of "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-+()[]{}@!#$%&',;=^`~. ") {
  harmless[character.charCodeAt(0)] = 1
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

/**
 * Whether a path is beyond doubt, judged by its bytes alone: plain ASCII that keeps every rule of docs/spec/m2pack.md §4.
 * Most paths are, and archives have a hundred thousand; the others are looked at by `checkPath`.
 *
 * @param copy - Where the path is copied to on the way, at `copyAt`; of no meaning when the answer is no.
 */
export function isPlainPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  copy?: Uint8Array,
  copyAt = 0,
): boolean {
  if (end - start > MAX_PATH_BYTES || end === start) return false
  let partStart = start
  let parts = 1
  for (let at = start; at <= end; at++) {
    const byte = at === end ? SLASH : (bytes[at] as number)
    if (copy !== undefined && at < end) copy[copyAt + at - start] = byte
    if (byte !== SLASH) {
      if (harmless[byte] === 0) return false
      continue
    }
    const last = bytes[at - 1]
    if (at === partStart || last === DOT || last === SPACE) return false
    if (
      at - partStart >= 3 &&
      suspects.has(
        startOf(bytes[partStart] as number, bytes[partStart + 1] as number, bytes[partStart + 2] as number),
      )
    )
      return false
    partStart = at + 1
    if (at < end) parts++
  }
  return parts <= MAX_PATH_PARTS
}
