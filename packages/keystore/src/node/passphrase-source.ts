import { readFileSync } from 'node:fs'
import { wipe } from '@keyturn/primitives'
import { KeystoreError } from '../errors.ts'

const MAX_PASSPHRASE_BYTES = 4096

/** The passphrase in a file: its first line without the line end. The caller wipes it. @throws KeystoreError `KEY_IO`. */
export function readPassphraseFile(path: string): Uint8Array {
  return readFirstLine(path)
}

/** The passphrase on an open descriptor: everything up to the first line end. The caller wipes it. */
export function readPassphraseFd(descriptor: number): Uint8Array {
  return readFirstLine(descriptor)
}

function readFirstLine(source: string | number): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(source)
  } catch (cause) {
    throw new KeystoreError(
      'KEY_IO',
      `Cannot read the passphrase from ${typeof source === 'number' ? `descriptor ${source}` : `"${source}"`}`,
      { cause },
    )
  }
  try {
    const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d)
    const line = new Uint8Array(end === -1 ? bytes : bytes.subarray(0, end))
    if (line.length === 0 || line.length > MAX_PASSPHRASE_BYTES) {
      throw new KeystoreError(
        'KEY_IO',
        `The passphrase has ${line.length} bytes, 1 to ${MAX_PASSPHRASE_BYTES} are wanted`,
      )
    }
    return line
  } finally {
    wipe(bytes)
  }
}
