/** Refuses an argument of the wrong length: a misused API, so a RangeError. */
export function requireLength(bytes: Uint8Array, length: number, name: string): void {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`${name} must be a Uint8Array`)
  if (bytes.length !== length) throw new RangeError(`${name} must be ${length} bytes long, not ${bytes.length}`)
}
