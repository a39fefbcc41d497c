import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'

/** The launcher's own folder inside an install: no release may touch it. */
const RESERVED_FOLDER = '.updates'
/** Delivered beside the client; a folder or another spelling of this name would shadow it. */
const RUNTIME_KEY_FILE = 'runtime-key.json'

const DEVICE_NAME = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])$/i
// Control and format characters that hide or turn text, what has no meaning yet, and what Windows forbids.
// eslint-disable-next-line no-control-regex
const FORBIDDEN =
  /[\u0000-\u001f\u007f-\u009f\\:*?"<>|\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Cn}|\p{Cs}/u
const encoder = new TextEncoder()

/** ASCII that may stand inside a part anywhere but at its end; dot and space may not end one. */
const PLAIN = new Uint8Array(128)
for (let code = 0x21; code < 0x7f; code++) PLAIN[code] = '\\:*?"<>|/.'.includes(String.fromCharCode(code)) ? 0 : 1
const [SLASH, DOT, SPACE] = [0x2f, 0x2e, 0x20]

/** First letters of the Windows device names: every other part is spared the closer look. */
function mayBeDevice(code: number): boolean {
  const lower = code | 0x20
  return lower === 0x63 || lower === 0x70 || lower === 0x61 || lower === 0x6e || lower === 0x6c
}

/**
 * Whether a path is plainly sound: the quick answer for nearly all of them. What it is unsure of is looked at again.
 */
function isPlainlySound(path: string): boolean {
  let partStart = 0
  let base = -1
  let last = SLASH
  for (let at = 0; at <= path.length; at++) {
    const code = at === path.length ? SLASH : path.charCodeAt(at)
    if (code === SLASH) {
      if (last === SLASH || last === DOT || last === SPACE || at - partStart > limits.pathPartBytes) return false
      const baseLength = (base < 0 ? at : base) - partStart
      if (
        baseLength >= 3 &&
        baseLength <= 7 &&
        mayBeDevice(path.charCodeAt(partStart)) &&
        DEVICE_NAME.test(path.slice(partStart, partStart + baseLength))
      )
        return false
      partStart = at + 1
      base = -1
    } else if (code === DOT) {
      if (base < 0) base = at
    } else if (code === SPACE) {
      // "aux .m2p" is the device too: leave spaces to the closer look unless they are well inside a long name.
      if (base < 0 && at - partStart < 8) return false
    } else if (code > 0x7f || PLAIN[code] !== 1) {
      return false
    }
    last = code
  }
  return path.length <= limits.pathBytes && path.charCodeAt(0) !== DOT && (path.charCodeAt(0) | 0x20) !== 0x72
}

function refuse(path: string, why: string): never {
  throw new ManifestError('MAN_PATH', `Cannot use path "${printable(path, 120)}": ${why}`, {
    details: { path: printable(path, 120) },
  })
}

/** A loop, not a pattern: this is asked of every path of a release. */
function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false
  return true
}

function byteLength(text: string): number {
  return isAscii(text) ? text.length : encoder.encode(text).length
}

function checkPart(path: string, part: string): void {
  if (part === '') refuse(path, 'a part is empty')
  if (part === '.' || part === '..') refuse(path, `"${part}" is not a name`)
  const last = part.charCodeAt(part.length - 1)
  if (last === 0x2e || last === 0x20) refuse(path, 'a part ends in a dot or a space')
  if (byteLength(part) > limits.pathPartBytes) refuse(path, `a part is over ${limits.pathPartBytes} bytes`)
  const dot = part.indexOf('.')
  const base = (dot < 0 ? part : part.slice(0, dot)).trimEnd()
  if (base.length >= 3 && base.length <= 7 && DEVICE_NAME.test(base)) refuse(path, `"${base}" is a device on Windows`)
}

/**
 * Holds a path to what can exist, once, on every platform, inside the install folder: relative, forward slashes,
 * NFC, no `..`, no characters or names that Windows reserves, nothing under `.updates`.
 *
 * @throws {@link ManifestError} `MAN_PATH`.
 */
export function checkPath(path: string): void {
  // Names of the launcher's own start with "." or "r", so those paths always get the closer look.
  if (isPlainlySound(path)) return
  if (byteLength(path) > limits.pathBytes) refuse(path, `it is over ${limits.pathBytes} bytes`)
  if (FORBIDDEN.test(path)) refuse(path, 'it holds a forbidden character')
  if (!isAscii(path) && path.normalize('NFC') !== path) refuse(path, 'it is not in Unicode form NFC')
  let start = 0
  for (;;) {
    const slash = path.indexOf('/', start)
    checkPart(path, slash < 0 ? path.slice(start) : path.slice(start, slash))
    if (slash < 0) break
    start = slash + 1
  }
  const folded = foldPath(path)
  if (folded === RESERVED_FOLDER || folded.startsWith(`${RESERVED_FOLDER}/`))
    refuse(path, `${RESERVED_FOLDER} belongs to the launcher`)
  if (folded === RUNTIME_KEY_FILE ? path !== RUNTIME_KEY_FILE : folded.startsWith(`${RUNTIME_KEY_FILE}/`)) {
    refuse(path, `${RUNTIME_KEY_FILE} is the name of one file`)
  }
}

/** What a path becomes where neither case nor the spelling of accents is told apart: two equal results collide. */
export function foldPath(path: string): string {
  // Upper, then lower case comes as close to full case folding as the language offers: ß and ss, K and k, İ and i̇.
  return isAscii(path) ? path.toLowerCase() : path.toUpperCase().toLowerCase().normalize('NFC')
}

/**
 * Collects paths and refuses two that would be one file somewhere, or a file that is also a folder.
 */
export class PathSet {
  readonly #files = new Set<string>()
  readonly #folders = new Set<string>()
  #lastFolder = ''

  /**
   * Adds a path that {@link checkPath} let pass.
   *
   * @throws {@link ManifestError} `MAN_PATH_COLLISION`.
   */
  add(path: string): void {
    const folded = foldPath(path)
    const before = this.#files.size
    this.#files.add(folded)
    if (this.#files.size === before || this.#folders.has(folded)) this.#refuse(path)
    const slash = folded.lastIndexOf('/')
    if (slash > 0) this.#addFolders(path, folded.slice(0, slash))
  }

  /** Whether a path, or one that collides with it, was added. */
  has(path: string): boolean {
    return this.#files.has(foldPath(path))
  }

  #addFolders(path: string, folder: string): void {
    // Sorted lists keep the files of a folder together, so this is nearly always the whole work.
    if (folder === this.#lastFolder) {
      if (this.#files.has(folder)) this.#refuse(path)
      return
    }
    this.#lastFolder = folder
    for (let parent = folder; parent !== ''; parent = parent.slice(0, Math.max(0, parent.lastIndexOf('/')))) {
      if (this.#files.has(parent)) this.#refuse(path)
      if (this.#folders.has(parent)) break
      this.#folders.add(parent)
    }
  }

  #refuse(path: string): never {
    throw new ManifestError(
      'MAN_PATH_COLLISION',
      `Cannot use path "${printable(path, 120)}": another path of the release is the same file or its folder`,
      {
        details: { path: printable(path, 120) },
      },
    )
  }
}
