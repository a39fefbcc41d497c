import { printable, requireText } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import { foldName } from './fold.ts'
import { MAX_PATH_BYTES, MAX_PATH_PARTS } from './limits.ts'

/** The literal prefix that clients of this family ask for. An opaque root, never a host path. */
export const YMIR_PREFIX = 'd:/ymir work/'
/** What replaces it wherever a path is checked, compared or extracted. */
const YMIR_FOLDER = 'ymir work/'

const PLAIN_ASCII = /^[\x20-\x7e]*$/
const FORBIDDEN = /[\\:*?"<>|]/
const CONTROL = /\p{Cc}/u
const SURROGATE = /\p{Cs}/u
const UNASSIGNED = /\p{Cn}/u
const INVISIBLE = /[\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|$)/i

function refuse(path: string, reason: string): never {
  throw new M2pError('M2P_PATH', `Cannot use path "${printable(path)}": ${reason}`, {
    details: { path: printable(path) },
  })
}

function checkPart(path: string, part: string): void {
  if (part === '') refuse(path, 'it has an empty part')
  if (part === '.' || part === '..') refuse(path, `it has a part "${part}"`)
  if (part.endsWith('.') || part.endsWith(' ')) refuse(path, 'a part ends in a dot or space')
  if (DEVICE.test(part)) refuse(path, 'a part is the name of a Windows device')
}

function checkCharacters(path: string): void {
  if (CONTROL.test(path)) refuse(path, 'it holds a control character')
  if (FORBIDDEN.test(path)) refuse(path, 'it holds one of \\ : * ? " < > |')
  if (PLAIN_ASCII.test(path)) return
  if (SURROGATE.test(path)) refuse(path, 'it holds a lone surrogate')
  if (INVISIBLE.test(path)) refuse(path, 'it holds a bidi or zero-width control')
  if (UNASSIGNED.test(path)) refuse(path, 'it holds an unassigned code point')
  if (path.normalize('NFC') !== path) refuse(path, 'it is not in NFC')
}

/** UTF-8 length without encoding. */
function utf8Length(text: string): number {
  if (PLAIN_ASCII.test(text)) return text.length
  let length = 0
  for (const character of text) {
    const codePoint = character.codePointAt(0) as number
    length += codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4
  }
  return length
}

/** The path as it is checked, compared and extracted: `d:/ymir work/…` becomes `ymir work/…`. */
export function logicalPath(path: string): string {
  requireText(path, 'path')
  return path.startsWith(YMIR_PREFIX) ? path.slice(YMIR_PREFIX.length - YMIR_FOLDER.length) : path
}

/** The path as `--ymir-prefix` stores it: a leading `ymir work/` becomes `d:/ymir work/`. */
export function ymirPath(path: string): string {
  return path.startsWith(YMIR_FOLDER) ? YMIR_PREFIX + path.slice(YMIR_FOLDER.length) : path
}

/**
 * Refuses a path that not every platform can hold safely: docs/spec/m2pack.md §4.
 *
 * @param path - As stored in an archive, the prefix `d:/ymir work/` included.
 * @throws {@link M2pError} `M2P_PATH`; `M2P_LIMIT` beyond 1024 bytes or 32 parts.
 */
export function checkPath(path: string): void {
  requireText(path, 'path')
  const bytes = utf8Length(path)
  if (bytes > MAX_PATH_BYTES) {
    throw new M2pError(
      'M2P_LIMIT',
      `Cannot use path "${printable(path, 40)}": it has ${bytes} bytes, at most ${MAX_PATH_BYTES} are allowed`,
    )
  }
  const logical = logicalPath(path)
  const parts = logical.split('/')
  if (parts.length > MAX_PATH_PARTS) {
    throw new M2pError(
      'M2P_LIMIT',
      `Cannot use path "${printable(path, 40)}": it has ${parts.length} parts, at most ${MAX_PATH_PARTS} are allowed`,
    )
  }
  if (logical === '') refuse(path, 'it is empty')
  checkCharacters(logical)
  for (const part of parts) checkPart(path, part)
}

/** What a path is compared by: two paths with the same fold would be one file where case does not count. */
export function foldPath(path: string): string {
  return foldName(logicalPath(path))
}

/** Notices paths that would be one file, or a file and a folder, on some platform. */
export class PathCollisions {
  readonly #files = new Set<string>()
  readonly #folders = new Set<string>()
  /** Folder of the last path, folded: paths come in order, and most share it with the one before. */
  #lastFolder = ''

  /**
   * Adds a path that {@link checkPath} let pass.
   *
   * @throws {@link M2pError} `M2P_PATH_COLLISION`.
   */
  add(path: string): void {
    const folded = foldPath(path)
    if (this.#folders.has(folded)) this.#collide(path, 'it is a file here and a folder elsewhere')
    const end = folded.lastIndexOf('/')
    if (end >= 0 && (end !== this.#lastFolder.length || !folded.startsWith(this.#lastFolder)))
      this.#addFolders(path, folded, end)
    const known = this.#files.size
    if (this.#files.add(folded).size === known)
      this.#collide(path, 'another path is the same where case does not count')
  }

  #addFolders(path: string, folded: string, end: number): void {
    const fresh: string[] = []
    for (let slash = end; slash > 0; slash = folded.lastIndexOf('/', slash - 1)) {
      const folder = folded.slice(0, slash)
      if (this.#folders.has(folder)) break
      if (this.#files.has(folder)) this.#collide(path, `"${printable(folder)}" is a file elsewhere`)
      fresh.push(folder)
    }
    for (const folder of fresh) this.#folders.add(folder)
    this.#lastFolder = folded.slice(0, end)
  }

  #collide(path: string, reason: string): never {
    throw new M2pError('M2P_PATH_COLLISION', `Cannot use path "${printable(path)}": ${reason}`, {
      details: { path: printable(path) },
    })
  }
}
