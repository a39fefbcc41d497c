import { open } from 'node:fs/promises'
import { wipe } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import { parseRuntimeKeyBlob, RUNTIME_KEY_BLOB_LENGTH, RUNTIME_KEY_BLOB_MAGIC } from '../blob.ts'
import { RuntimeKeyError } from '../errors.ts'
import { MAX_RUNTIME_KEY_JSON_BYTES, parseRuntimeKeyJson } from '../json.ts'
import type { RuntimeKey } from '../runtime-key.ts'

/**
 * Reads a runtime key file, JSON or blob, told apart by the blob's magic.
 *
 * @throws {@link RuntimeKeyError} `RK_MISSING` when there is no such file; else as {@link parseRuntimeKeyJson} and
 *   {@link parseRuntimeKeyBlob}. Other failures of the disk are thrown as they are.
 */
export async function readRuntimeKeyFile(path: string): Promise<RuntimeKey> {
  // Own allocation, never the shared Buffer pool: the pool is not ours to wipe.
  const room = new Uint8Array(MAX_RUNTIME_KEY_JSON_BYTES + 1)
  try {
    const length = await readInto(path, room)
    const bytes = room.subarray(0, length)
    const isBlob = length === RUNTIME_KEY_BLOB_LENGTH && RUNTIME_KEY_BLOB_MAGIC.every((byte, at) => bytes[at] === byte)
    return isBlob ? parseRuntimeKeyBlob(bytes) : parseRuntimeKeyJson(bytes)
  } finally {
    wipe(room)
  }
}

async function readInto(path: string, room: Uint8Array): Promise<number> {
  let file
  try {
    file = await open(path, 'r')
  } catch (cause) {
    if (isMissing(cause)) {
      throw new RuntimeKeyError('RK_MISSING', `Runtime key file "${path}" does not exist`, { cause })
    }
    throw cause
  }
  try {
    let length = 0
    while (length < room.length) {
      const { bytesRead } = await file.read(room, length, room.length - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return length
  } finally {
    await file.close()
  }
}
