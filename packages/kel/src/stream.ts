import { parseVersion, VERSION_LENGTH } from './version-string.ts'
import type { VersionString } from './version-string.ts'
import { MAX_ATTACHMENT_BYTES, MAX_EVENT_BYTES } from './limits.ts'
import { refusal } from './rule.ts'

/** One message of a stream, not yet looked into. */
export interface Frame {
  /** The exact bytes that are hashed and signed. */
  readonly body: Uint8Array
  readonly version: VersionString
  /** Body and attachments as they came. */
  readonly bytes: Uint8Array
}

const OPEN_BRACE = 0x7b
const UNDERSCORE = 0x5f
const VERSION_OFFSET = 6
const ascii = new TextDecoder('latin1')

const supportedStart = new TextEncoder().encode('{"v":"KERI10JSON')
const SIZE_OFFSET = 16

/** The size of a KERI 1.0 JSON event, read digit by digit; undefined for any other start. */
function supportedSize(bytes: Uint8Array, offset: number): number | undefined {
  for (let i = 0; i < SIZE_OFFSET; i++) if (bytes[offset + i] !== supportedStart[i]) return undefined
  let size = 0
  for (let i = SIZE_OFFSET; i < SIZE_OFFSET + 6; i++) {
    const code = bytes[offset + i] ?? 0
    const digit = code >= 0x30 && code <= 0x39 ? code - 0x30 : code >= 0x61 && code <= 0x66 ? code - 0x57 : -1
    if (digit < 0) return undefined
    size = size * 16 + digit
  }
  return bytes[offset + SIZE_OFFSET + 6] === UNDERSCORE ? size : undefined
}

/** Reads the version string of a body: `{"v":"` and 17 characters. */
function versionAt(bytes: Uint8Array, offset: number): VersionString {
  const size = supportedSize(bytes, offset)
  if (size !== undefined) return { major: 1, minor: 0, kind: 'JSON', size }
  const text = ascii.decode(bytes.subarray(offset, offset + VERSION_OFFSET + VERSION_LENGTH + 2))
  const version = text.startsWith('{"v":"') ? parseVersion(text.slice(VERSION_OFFSET)) : undefined
  if (version === undefined) throw refusal('KEL_PARSE', 'Message does not begin with a KERI version string', { offset })
  return version
}

/**
 * Takes the message at `offset` of a CESR stream: the body has the length its version string states, the attachments
 * reach to the next `{`.
 *
 * @throws {@link KelError} `KEL_PARSE` (rule `size` when the stated length cannot be right), `KEL_LIMIT`.
 */
export function readFrame(bytes: Uint8Array, offset: number): Frame {
  const version = versionAt(bytes, offset)
  if (version.size > MAX_EVENT_BYTES) {
    throw refusal('KEL_LIMIT', `Event of ${version.size} bytes, limit ${MAX_EVENT_BYTES}`, { offset })
  }
  const bodyEnd = offset + version.size
  if (bodyEnd > bytes.length) {
    throw refusal('KEL_PARSE', `Event states ${version.size} bytes, ${bytes.length - offset} are left`, {
      offset,
      rule: 'size',
    })
  }
  let end = bytes.indexOf(OPEN_BRACE, bodyEnd)
  if (end < 0) end = bytes.length
  if (end - bodyEnd > MAX_ATTACHMENT_BYTES) {
    throw refusal('KEL_LIMIT', `Attachments of ${end - bodyEnd} bytes, limit ${MAX_ATTACHMENT_BYTES}`, { offset })
  }
  return { body: bytes.subarray(offset, bodyEnd), version, bytes: bytes.subarray(offset, end) }
}

/** The text after the body of a frame. */
export function attachmentText(frame: Frame): string {
  return ascii.decode(frame.bytes.subarray(frame.body.length))
}

/** The same memory as a plain Uint8Array: methods of Node's Buffer differ from those of its parent. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Walks a whole CESR stream. The frames are views into `bytes`. */
export function* readFrames(bytes: Uint8Array): Generator<Frame> {
  let offset = 0
  while (offset < bytes.length) {
    const frame = readFrame(bytes, offset)
    yield frame
    offset += frame.bytes.length
  }
}

/** Where the next message begins after one that cannot be read; the end of the stream when there is none. */
export function nextFrameOffset(bytes: Uint8Array, offset: number): number {
  for (let at = bytes.indexOf(OPEN_BRACE, offset + 1); at >= 0; at = bytes.indexOf(OPEN_BRACE, at + 1)) {
    if (ascii.decode(bytes.subarray(at, at + VERSION_OFFSET + 4)) === '{"v":"KERI') return at
  }
  return bytes.length
}
