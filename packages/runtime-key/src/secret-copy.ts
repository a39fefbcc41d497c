/**
 * Copies a secret into memory of its own. Small typed arrays live inside the garbage collector's heap, which moves
 * them and leaves what was there; a backing store made on its own is never moved, so that wiping it wipes all there is.
 */
export function secretCopy(secret: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(secret.length))
  copy.set(secret)
  return copy
}
