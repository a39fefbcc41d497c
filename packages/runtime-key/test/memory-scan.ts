import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const WINDOW_BYTES = 1 << 22

/** Counts where any of `needles` is in the writable memory of a process. */
export function countInMemory(pid: number, needles: readonly Uint8Array[]): number {
  const regions = readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line)
      return match?.[1] === undefined || match[2] === undefined
        ? []
        : [[Number.parseInt(match[1], 16), Number.parseInt(match[2], 16)] as const]
    })
  const longest = Math.max(...needles.map(({ length }) => length))
  const window = Buffer.allocUnsafeSlow(WINDOW_BYTES + longest)
  const fd = openSync(`/proc/${pid}/mem`, 'r')
  let hits = 0
  try {
    for (const [start, end] of regions) {
      for (let at = start; at < end; at += WINDOW_BYTES)
        hits += countInWindow(window.subarray(0, readAt(fd, window, at, end)), needles)
    }
  } finally {
    closeSync(fd)
  }
  return hits
}

/** Some regions cannot be read (guard pages, device memory): they hold no key. */
function readAt(fd: number, into: Buffer, at: number, end: number): number {
  try {
    return readSync(fd, into, 0, Math.min(into.length, end - at), at)
  } catch {
    return 0
  }
}

/** Counts in bytes. */
export function countInWindow(bytes: Buffer, needles: readonly Uint8Array[]): number {
  let hits = 0
  for (const needle of needles)
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) hits += 1
  return hits
}

/** A key in every form it could leak in, and three windows of its raw bytes. */
export function formsOf(key: Uint8Array): Uint8Array[] {
  const text = (form: string): Uint8Array => Buffer.from(form, 'latin1')
  const bytes = Buffer.from(key)
  return [
    bytes,
    bytes.subarray(0, 8),
    bytes.subarray(12, 20),
    bytes.subarray(24),
    text(bytes.toString('hex').slice(0, 16)),
    text(bytes.toString('hex').slice(-16)),
    text(bytes.toString('hex').toUpperCase().slice(0, 16)),
    text(bytes.toString('base64').slice(0, 12)),
    text(bytes.toString('base64url').slice(0, 12)),
    Buffer.from(bytes.toString('hex').slice(0, 16), 'utf16le'),
  ]
}
