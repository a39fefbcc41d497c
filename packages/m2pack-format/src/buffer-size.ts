const SMALLEST_BYTES = 64 * 1024

/** How much memory to take for `length` bytes, so that slightly longer ones later find room and make no garbage. */
export function roomFor(length: number): number {
  return Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(length)))
}
