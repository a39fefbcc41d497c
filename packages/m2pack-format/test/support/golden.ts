import type { ContentKey } from '../../src/index.ts'

const lines = (count: number): Uint8Array =>
  new TextEncoder().encode(Array.from({ length: count }, (_, index) => `line ${index} of a golden file\n`).join(''))
const bytes = (count: number): Uint8Array =>
  new Uint8Array(count).map((_, index) => ((index * 2654435761) >>> 11) & 255)

/** Two releases: the second leaves most files alone, changes one, adds one. */
export function goldenFiles(): { first: Record<string, Uint8Array>; second: Record<string, Uint8Array> } {
  const first = {
    empty: new Uint8Array(0),
    'text.txt': lines(40),
    'segments.txt': lines(4000),
    'noise.bin': bytes(500),
    'ymir work/pc/ü.tga': lines(3),
    'Ünï/çödé': lines(1),
  }
  return { first, second: { ...first, 'text.txt': lines(41), 'new/file.txt': lines(2) } }
}

/** What version 2 keeps beside the bytes of a file. */
export function goldenAttributes(path: string): { executable: boolean; mtimeMs: number } {
  return { executable: path.startsWith('new/'), mtimeMs: 1_700_000_000_000 + path.length }
}

/** Keys of the golden archives. They protect nothing. */
export function goldenKeys(keyId: number): {
  contentKey: ContentKey
  signingSeed: Uint8Array
  slots: Map<number, Uint8Array>
} {
  const slots = new Map(
    [
      [1, new Uint8Array(32).fill(0xa1)],
      [2, new Uint8Array(32).fill(0xa2)],
    ].slice(0, keyId) as [number, Uint8Array][],
  )
  return {
    contentKey: { keyId, key: new Uint8Array(32).fill(keyId) },
    signingSeed: new Uint8Array(32).fill(0x60),
    slots,
  }
}
