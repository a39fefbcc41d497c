import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'

/** The launcher's own folder inside an install: no release may touch it. */
export const RESERVED_FOLDER = '.updates'
/** Delivered beside the client; a folder or another spelling of this name would shadow it. */
const RUNTIME_KEY_FILE = 'runtime-key.json'

const DEVICE_NAME = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])$/i
// Control and format characters that hide or turn text, what has no meaning yet, and what Windows forbids.
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\\:*?"<>|\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Cn}|\p{Cs}/u
const NON_ASCII = /[^\u0000-\u007f]/
const encoder = new TextEncoder()

function refuse(path: string, why: string): never {
  throw new ManifestError('MAN_PATH', `Cannot use path "${printable(path, 120)}": ${why}`, { details: { path: printable(path, 120) } })
}

function byteLength(text: string): number {
  return NON_ASCII.test(text) ? encoder.encode(text).length : text.length
}

function checkPart(path: string, part: string): void {
  if (part === '') refuse(path, 'a part is empty')
  if (part === '.' || part === '..') refuse(path, `"${part}" is no name`)
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
  if (byteLength(path) > limits.pathBytes) refuse(path, `it is over ${limits.pathBytes} bytes`)
  if (FORBIDDEN.test(path)) refuse(path, 'it holds a forbidden character')
  if (NON_ASCII.test(path) && path.normalize('NFC') !== path) refuse(path, 'it is not in Unicode form NFC')
  let start = 0
  for (;;) {
    const slash = path.indexOf('/', start)
    checkPart(path, slash < 0 ? path.slice(start) : path.slice(start, slash))
    if (slash < 0) break
    start = slash + 1
  }
  const folded = foldPath(path)
  if (folded === RESERVED_FOLDER || folded.startsWith(`${RESERVED_FOLDER}/`)) refuse(path, `${RESERVED_FOLDER} belongs to the launcher`)
  if (folded === RUNTIME_KEY_FILE ? path !== RUNTIME_KEY_FILE : folded.startsWith(`${RUNTIME_KEY_FILE}/`)) {
    refuse(path, `${RUNTIME_KEY_FILE} is the name of one file`)
  }
}

/** What a path becomes where neither case nor the spelling of accents is told apart: two equal results collide. */
export function foldPath(path: string): string {
  // Upper, then lower case comes as close to full case folding as the language offers: ß and ss, K and k, İ and i̇.
  return NON_ASCII.test(path) ? path.toUpperCase().toLowerCase().normalize('NFC') : path.toLowerCase()
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
    if (this.#files.has(folded) || this.#folders.has(folded)) this.#refuse(path)
    this.#files.add(folded)
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
    throw new ManifestError('MAN_PATH_COLLISION', `Cannot use path "${printable(path, 120)}": another path of the release is the same file or its folder`, {
      details: { path: printable(path, 120) },
    })
  }
}
