/** Changes to the bytes of an archive, for cases that break one field. */

type Edit = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array

/** Gives the bytes and a view of them to be changed. */
export const edit =
  (change: (bytes: Uint8Array<ArrayBuffer>, view: DataView) => void): Edit =>
  (bytes) => {
    change(bytes, new DataView(bytes.buffer, bytes.byteOffset))
    return bytes
  }
/** Flips the lowest bit of a byte; a negative place counts from the end. */
export const flip = (at: number): Edit => edit((bytes) => void (bytes[at < 0 ? bytes.length + at : at]! ^= 1))
/** Writes a u32, little-endian. */
export const u32 = (at: number, value: number): Edit => edit((_, view) => view.setUint32(at, value, true))
/** Writes a u64, little-endian. */
export const u64 = (at: number, value: bigint): Edit => edit((_, view) => view.setBigUint64(at, value, true))
