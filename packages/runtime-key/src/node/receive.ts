import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { wipe } from '@keyturn/primitives'
import { parseRuntimeKeyBlob, RUNTIME_KEY_BLOB_LENGTH } from '../blob.ts'
import { RuntimeKeyError } from '../errors.ts'
import { decodeKeyHex, readKeyId } from '../json.ts'
import { RuntimeKey } from '../runtime-key.ts'
import { secretCopy } from '../secret-copy.ts'
import { RUNTIME_KEY_VARIABLES } from './delivery.ts'
import { mappingPath } from './shared-memory.ts'

/** Where {@link receiveRuntimeKey} looks. */
export interface ReceiveOptions {
  /** `process.env` by default. The variables are removed from it, so that no grandchild inherits them. */
  readonly env?: Record<string, string | undefined>
  /** Arguments of the client; `process.argv.slice(2)` by default. */
  readonly argv?: readonly string[] | undefined
  /** Folder of the POSIX mappings; `/dev/shm` by default. */
  readonly sharedMemoryFolder?: string | undefined
}

interface Fields {
  keyId?: number
  masterKey?: Uint8Array
  signPublicKey?: Uint8Array
}

const ARGUMENTS = {
  '--m2pack-key-hex': 'masterKeyHex',
  '--m2pack-pubkey-hex': 'signPublicKeyHex',
  '--m2pack-key-id': 'keyId',
  '--m2pack-key-map': 'mapping',
} as const

/**
 * The client's side of every delivery: mapping < pipe < environment < arguments, field by field. Call it once and
 * first: the pipe and the mapping can be read a single time, and nothing may be spawned before.
 *
 * @returns The key; its verifier is absent when nobody sent one.
 * @throws {@link RuntimeKeyError} `RK_MISSING`, `RK_ENCODING`, `RK_KEY_ID`, `RK_WEAK`, `RK_KEY_INVALID`,
 *   `RK_DELIVERY_CORRUPT` (pipe or mapping cut, altered or already taken), `RK_SHM_OCCUPIED` (mapping of another
 *   user, a link, or open to others).
 * @example `using key = receiveRuntimeKey()`
 */
export function receiveRuntimeKey(options: ReceiveOptions = {}): RuntimeKey {
  const env = options.env ?? process.env
  const texts = { ...takeVariables(env), ...readArguments(options.argv ?? process.argv.slice(2)) }
  const fields: Fields = {}
  try {
    if (texts.mapping !== undefined) merge(fields, readMapping(texts.mapping, options.sharedMemoryFolder))
    if (texts.fd !== undefined) merge(fields, readPipe(texts.fd))
    merge(fields, decodeTexts(texts))
    const { keyId, masterKey, signPublicKey } = fields
    if (masterKey === undefined || keyId === undefined) {
      throw new RuntimeKeyError(
        'RK_MISSING',
        `No runtime key was delivered: ${masterKey ? 'key_id' : 'key'} is missing`,
      )
    }
    return RuntimeKey.take({ keyId, masterKey, signPublicKey })
  } finally {
    wipe(fields.masterKey)
  }
}

type Texts = { -readonly [Name in keyof typeof RUNTIME_KEY_VARIABLES]?: string }

function takeVariables(env: Record<string, string | undefined>): Texts {
  const texts: Texts = {}
  for (const [field, variable] of Object.entries(RUNTIME_KEY_VARIABLES)) {
    const value = env[variable]
    if (value === undefined) continue
    texts[field as keyof Texts] = value
    delete env[variable]
  }
  return texts
}

function readArguments(argv: readonly string[]): Texts {
  const texts: Texts = {}
  for (let index = 0; index < argv.length; index += 1) {
    const [name = '', inline] = (argv[index] ?? '').split('=', 2)
    if (!Object.hasOwn(ARGUMENTS, name)) continue
    const value = inline ?? argv[(index += 1)]
    if (value === undefined) throw new RuntimeKeyError('RK_MISSING', `Argument "${name}" has no value`)
    texts[ARGUMENTS[name as keyof typeof ARGUMENTS]] = value
  }
  return texts
}

function decodeTexts(texts: Texts): Fields {
  return {
    ...(texts.keyId === undefined ? {} : { keyId: readKeyId(texts.keyId) }),
    ...(texts.signPublicKeyHex === undefined
      ? {}
      : { signPublicKey: decodeKeyHex(texts.signPublicKeyHex, 'sign_pubkey_hex') }),
    ...(texts.masterKeyHex === undefined ? {} : { masterKey: decodeKeyHex(texts.masterKeyHex, 'master_key_hex') }),
  }
}

function merge(fields: Fields, stronger: Fields): void {
  if (stronger.masterKey !== undefined) wipe(fields.masterKey)
  Object.assign(fields, stronger)
}

/** Reads the pipe to its end and closes it at once, so that nothing started later inherits it. */
function readPipe(fdText: string): Fields {
  if (!/^[1-9][0-9]{0,5}$/.test(fdText) || Number(fdText) < 3) {
    throw new RuntimeKeyError('RK_DELIVERY_CORRUPT', `"${RUNTIME_KEY_VARIABLES.fd}" names no inherited pipe`)
  }
  const fd = Number(fdText)
  const blob = new Uint8Array(RUNTIME_KEY_BLOB_LENGTH)
  try {
    for (let done = 0; done < blob.length;) {
      const count = readSome(fd, blob, done)
      if (count === 0) throw new RuntimeKeyError('RK_DELIVERY_CORRUPT', `The key pipe ended after ${done} bytes`)
      done += count
    }
    return splitBlob(blob)
  } catch (cause) {
    throw corrupt('pipe', cause)
  } finally {
    wipe(blob)
    try {
      closeSync(fd)
    } catch {
      // Not open: the read has said so already.
    }
  }
}

/** The parent's end of the pipe may make this one non-blocking; then waiting is up to us. */
function readSome(fd: number, into: Uint8Array, offset: number): number {
  const PATIENCE_MS = 10_000
  const STEP_MS = 5
  const lock = new Int32Array(new SharedArrayBuffer(4))
  for (let waitedMs = 0; ; waitedMs += STEP_MS) {
    try {
      return readSync(fd, into, offset, into.length - offset, null)
    } catch (error) {
      const again = error instanceof Error && 'code' in error && error.code === 'EAGAIN'
      if (!again || waitedMs >= PATIENCE_MS) throw error
      Atomics.wait(lock, 0, 0, STEP_MS)
    }
  }
}

/** Takes the blob out of POSIX shared memory: read, zero, unlink. */
function readMapping(name: string, folder?: string): Fields {
  const path = mappingPath(name, folder)
  if (path === undefined)
    throw new RuntimeKeyError('RK_DELIVERY_CORRUPT', 'The key mapping has a name that is none of ours')
  const blob = new Uint8Array(RUNTIME_KEY_BLOB_LENGTH)
  let fd: number
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW)
  } catch (cause) {
    const isLink = cause instanceof Error && 'code' in cause && cause.code === 'ELOOP'
    throw isLink
      ? new RuntimeKeyError('RK_SHM_OCCUPIED', 'The key mapping is a symbolic link', { cause })
      : new RuntimeKeyError('RK_DELIVERY_CORRUPT', 'The key mapping is not there: it was already taken', { cause })
  }
  try {
    assertOurs(fd)
    const count = readSync(fd, blob, 0, blob.length, 0)
    // Write-then-zero: a later reader finds nothing, and the launcher sees that it was taken.
    writeSync(fd, new Uint8Array(blob.length), 0, blob.length, 0)
    unlinkSync(path)
    if (count !== blob.length)
      throw new RuntimeKeyError('RK_DELIVERY_CORRUPT', `The key mapping has only ${count} bytes`)
    return splitBlob(blob)
  } catch (cause) {
    throw corrupt('mapping', cause)
  } finally {
    wipe(blob)
    closeSync(fd)
  }
}

function assertOurs(fd: number): void {
  const status = fstatSync(fd)
  const ours =
    status.isFile() && status.uid === process.getuid?.() && (status.mode & 0o777) === 0o600 && status.nlink === 1
  if (!ours)
    throw new RuntimeKeyError('RK_SHM_OCCUPIED', 'The key mapping belongs to another user or is open to others')
  if (status.size !== RUNTIME_KEY_BLOB_LENGTH) {
    throw new RuntimeKeyError(
      'RK_DELIVERY_CORRUPT',
      `The key mapping has ${status.size} bytes, wanted ${RUNTIME_KEY_BLOB_LENGTH}`,
    )
  }
}

function splitBlob(blob: Uint8Array): Fields {
  const key = parseRuntimeKeyBlob(blob)
  try {
    const { keyId, signPublicKey } = key
    return { keyId, masterKey: key.withBytes(secretCopy), ...(signPublicKey && { signPublicKey }) }
  } finally {
    key.dispose()
  }
}

function corrupt(what: 'pipe' | 'mapping', cause: unknown): Error {
  if (cause instanceof RuntimeKeyError && (cause.code === 'RK_SHM_OCCUPIED' || cause.code === 'RK_DELIVERY_CORRUPT'))
    return cause
  return new RuntimeKeyError('RK_DELIVERY_CORRUPT', `What the key ${what} holds is not a runtime key`, { cause })
}
