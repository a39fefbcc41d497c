import { utf8Decode } from '@keyturn/primitives'
import { assertDeviceId, KEY_LIST_PATH, recordPath } from './device-id.ts'
import { NoiseKeysError } from './errors.ts'
import { parseIdentityName } from './identity.ts'
import type { TransportIdentity } from './identity.ts'
import { MAX_KEY_LIST_BYTES, verifyKeyList } from './key-list.ts'
import type { RelayRequest, RelayResponse } from './pkarr/relay-handler.ts'
import { verifyKeyRecord } from './record-signature.ts'
import { MAX_RECORD_BYTES, parseKeyRecord } from './record.ts'

/** Where key files are kept, by path below the mount: `<name>/pub/noise.app/v0/<device>`. */
export interface KeyFileStore {
  get(path: string): Promise<Uint8Array | undefined>
  /**
   * Puts a file in the place of the one that was read, atomically.
   *
   * @param previous - What `get` gave.
   * @returns False when it is no longer that one.
   */
  replace(path: string, previous: Uint8Array | undefined, next: Uint8Array): Promise<boolean>
}

/** How {@link createKeyFileHandler} works. */
export interface KeyFileHandlerOptions {
  readonly store: KeyFileStore
  /** Whether an identity may publish here; all by default. */
  readonly allow?: ((identity: TransportIdentity) => boolean | Promise<boolean>) | undefined
}

/** Longest body that is looked at. */
export const MAX_KEY_FILE_BYTES: number = MAX_KEY_LIST_BYTES

const HEADERS = { 'access-control-allow-origin': '*', 'cache-control': 'no-cache' }
const RECORD_PATH = /^\/([a-z0-9]{52})\/pub\/noise\.app\/v0\/([A-Za-z0-9._-]{1,63})$/
const MAX_ATTEMPTS = 8

/**
 * Serves and takes key files as a plain function from request to answer. A signature is the permission to write: a
 * file is taken when its identity signed it and it is newer than the one that is there.
 */
export function createKeyFileHandler(
  options: KeyFileHandlerOptions,
): (request: RelayRequest) => Promise<RelayResponse> {
  return async (request) => {
    try {
      const file = fileOf(request.path)
      if (request.method === 'GET' || request.method === 'HEAD') return await get(options.store, file.path)
      if (request.method !== 'PUT') return { status: 405, headers: { ...HEADERS, allow: 'GET, PUT' }, code: 'NK_RELAY' }
      if ((await options.allow?.(file.identity)) === false)
        return { status: 403, headers: HEADERS, code: 'NK_IDENTITY' }
      return await put(options.store, file, request.body ?? new Uint8Array(0))
    } catch (error) {
      if (!(error instanceof NoiseKeysError)) throw error
      const status =
        { NK_NOT_FOUND: 404, NK_LIMIT: 413, NK_ROLLBACK: 409, NK_EQUIVOCATION: 409, NK_CONFLICT: 409 }[
          error.code as string
        ] ?? 422
      return { status, headers: HEADERS, code: error.code }
    }
  }
}

interface KeyFile {
  readonly path: string
  readonly identity: TransportIdentity
  /** Checks the file's signature; gives its number. */
  sequenceOf(bytes: Uint8Array): number
  readonly maxBytes: number
}

function fileOf(path: string): KeyFile {
  const [, name = '', device = ''] = RECORD_PATH.exec(path) ?? []
  if (name !== '') {
    const identity = parseIdentityName(name)
    assertDeviceId(device)
    return {
      path: `${name}${recordPath(device)}`,
      identity,
      maxBytes: MAX_RECORD_BYTES,
      sequenceOf: (bytes) => recordSequence(identity, device, bytes),
    }
  }
  const [listName = ''] = path.slice(1).split('/', 1)
  if (listName.length !== 52 || path !== `/${listName}${KEY_LIST_PATH}`)
    throw new NoiseKeysError('NK_NOT_FOUND', 'No key file has this path')
  const identity = parseIdentityName(listName)
  return {
    path: path.slice(1),
    identity,
    maxBytes: MAX_KEY_LIST_BYTES,
    sequenceOf: (bytes) => verifyKeyList(identity.publicKey, bytes).list.seq,
  }
}

/** Plain records are not taken: their state could be changed by anybody who can write. */
function recordSequence(identity: TransportIdentity, deviceId: string, bytes: Uint8Array): number {
  const record = parseKeyRecord(decode(bytes))
  if (record.format === 'plain') throw new NoiseKeysError('NK_DOWNGRADE', 'A plain record is not taken')
  verifyKeyRecord(record, { identity: identity.publicKey, deviceId })
  return record.sequence
}

async function get(store: KeyFileStore, path: string): Promise<RelayResponse> {
  const body = await store.get(path)
  if (body === undefined) return { status: 404, headers: HEADERS, code: 'NK_NOT_FOUND' }
  return {
    status: 200,
    headers: { ...HEADERS, 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
    body,
  }
}

async function put(store: KeyFileStore, file: KeyFile, body: Uint8Array): Promise<RelayResponse> {
  if (body.length > file.maxBytes)
    throw new NoiseKeysError('NK_LIMIT', `The file has ${body.length} bytes, at most ${file.maxBytes} are taken`)
  const sequence = file.sequenceOf(body)
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const previous = await store.get(file.path)
    if (previous !== undefined) {
      const current = file.sequenceOf(previous)
      const same = previous.length === body.length && previous.every((byte, at) => byte === body[at])
      if (same) return { status: 204, headers: HEADERS }
      if (sequence === current) throw new NoiseKeysError('NK_EQUIVOCATION', `Another file has number ${sequence}`)
      if (sequence < current)
        throw new NoiseKeysError('NK_ROLLBACK', `File ${sequence} is older than ${current}, which is there`)
    }
    if (await store.replace(file.path, previous, body.slice())) return { status: 204, headers: HEADERS }
  }
  throw new NoiseKeysError('NK_CONFLICT', 'Somebody else publishes at the same time')
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes)
  } catch (cause) {
    throw new NoiseKeysError('NK_RECORD', 'Cannot read key record: it is not UTF-8', { cause })
  }
}

/** Key files in memory, for tests and for servers that start empty. */
export function memoryKeyFileStore(): KeyFileStore {
  const files = new Map<string, Uint8Array>()
  return {
    get: (path) => Promise.resolve(files.get(path)),
    replace(path, previous, next) {
      const unchanged = files.get(path) === previous
      if (unchanged) files.set(path, next)
      return Promise.resolve(unchanged)
    },
  }
}
