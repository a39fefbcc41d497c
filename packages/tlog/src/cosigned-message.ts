import { concatBytes, ED25519_SIGNATURE_LENGTH, utf8Encode, Writer } from '@keyturn/primitives'

/** The parts of a cosignature. */
export interface Cosignature {
  /** Seconds since 1970. */
  readonly timestamp: number
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array
}

/** What a witness signs: header, time, and the whole text of the checkpoint (c2sp.org/tlog-cosignature, Ed25519). */
export function cosignedMessage(text: string, timestamp: number): Uint8Array<ArrayBuffer> {
  return utf8Encode(`cosignature/v1\ntime ${timestamp}\n${text}`)
}

/** Time, u64 big-endian, and signature; `undefined` for another length or a time above 2^53 - 1. */
export function readCosignature(bytes: Uint8Array): Cosignature | undefined {
  if (bytes.length !== 8 + ED25519_SIGNATURE_LENGTH) return undefined
  const timestamp = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0)
  if (timestamp > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  return { timestamp: Number(timestamp), signature: bytes.subarray(8) }
}

/** The inverse of {@link readCosignature}. */
export function writeCosignature({ timestamp, signature }: Cosignature): Uint8Array<ArrayBuffer> {
  return concatBytes(new Writer(16).u64be(timestamp).finish(), signature)
}
