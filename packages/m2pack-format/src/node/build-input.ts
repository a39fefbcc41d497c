import { printable } from '@keyturn/primitives'
import { isOpenedInside, systemErrorCode } from '@keyturn/primitives/node'
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from 'node:fs'
import { M2pError } from '../errors.ts'
import { roomFor } from '../buffer-size.ts'

const INITIAL_BYTES = 1024 * 1024
const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/** Says that a file is not what it was when the folder was walked. */
export function changed(path: string): M2pError {
  return new M2pError('M2P_INPUT_CHANGED', `File "${printable(path)}" changed while it was being packed`, {
    details: { path: printable(path) },
  })
}

/** What is known of the files to be packed. */
interface InputFiles {
  readonly root: string
  readonly paths: readonly string[]
  readonly sizes: Float64Array
}

/** Reads the files to be packed, and notices when one of them changes. */
export class BuildInput {
  readonly #files: InputFiles
  #bytes = new Uint8Array(INITIAL_BYTES)
  #realRoot: string | undefined

  constructor(files: InputFiles) {
    this.#files = files
  }

  /** Its path below the root. */
  path(file: number): string {
    return this.#files.paths[file] as string
  }

  #open(file: number): number {
    const path = this.path(file)
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    let descriptor: number
    try {
      descriptor = openSync(`${this.#files.root}/${path}`, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0))
    } catch (error) {
      // It was a plain file when the folder was walked: now it is gone, or a link.
      if (GONE.has(systemErrorCode(error) ?? '')) throw changed(path)
      throw error
    }
    this.#realRoot ??= realpathSync.native(this.#files.root)
    if (isOpenedInside(descriptor, this.#realRoot, path)) return descriptor
    // A folder above it is a link now.
    closeSync(descriptor)
    throw changed(path)
  }

  /** Opens a file that is read more than once and looks whether it still has its size. */
  openLarge(file: number): number {
    const descriptor = this.#open(file)
    const stats = fstatSync(descriptor)
    if (stats.isFile() && stats.size === this.#files.sizes[file]) return descriptor
    closeSync(descriptor)
    throw changed(this.path(file))
  }

  /** Reads a small file whole; asking for one byte too many shows whether it grew. */
  readSmall(file: number): Uint8Array {
    const size = this.#files.sizes[file] as number
    if (size + 1 > this.#bytes.length) this.#bytes = new Uint8Array(roomFor(size + 1))
    const descriptor = this.#open(file)
    try {
      let done = 0
      do {
        const count = readSync(descriptor, this.#bytes, done, size + 1 - done, done)
        done += count
        if (count === 0) break
      } while (done < size)
      if (done !== size) throw changed(this.path(file))
      return this.#bytes.subarray(0, size)
    } finally {
      closeSync(descriptor)
    }
  }

  /** Reads into the reused buffer; good until the next read. */
  read(descriptor: number, position: number, length: number, path: string): Uint8Array {
    if (length > this.#bytes.length) this.#bytes = new Uint8Array(roomFor(length))
    for (let done = 0; done < length;) {
      const count = readSync(descriptor, this.#bytes, done, length - done, position + done)
      if (count === 0) throw changed(path)
      done += count
    }
    return this.#bytes.subarray(0, length)
  }
}
