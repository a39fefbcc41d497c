import { printable } from '@keyturn/primitives'
import type { ReadErrorFactory } from '@keyturn/primitives'
import { M2pError } from '../errors.ts'
import { checkPath } from '../paths.ts'

/** A file of a pack of an older format. None of them is authenticated: nothing proves who wrote it. */
export interface LegacyFile {
  /** As `.m2p` archives store it: forward slashes, `d:/ymir work/` included. */
  readonly path: string
  /** Bytes once unpacked. */
  readonly size: number
  /** How it is stored, for people. */
  readonly storage: string
  /** Why it cannot be read from the file alone; absent when it can. */
  readonly refusal?: string
  /** Unpacks it. @throws {@link M2pError} `M2P_LEGACY`. */
  read(): Promise<Uint8Array>
}

/** A pack of an older format, open. */
export interface LegacyPack {
  /** Which format and cipher. */
  readonly format: 'pck-xchacha20' | 'pck-camellia' | 'eterpack'
  readonly files: readonly LegacyFile[]
}

/** Refuses a damaged or unreadable pack. */
export function legacyError(message: string, cause?: unknown): never {
  throw new M2pError('M2P_LEGACY', message, cause === undefined ? {} : { cause })
}

/** Reports what a Reader finds as an error of this package. */
export const legacyReadError: ReadErrorFactory = ({ field, offset, message }) =>
  new M2pError('M2P_LEGACY', message, { details: { field, offset } })

/** The path in a field padded with NUL: UTF-8 where it is, else one byte a character. */
export function legacyPath(field: Uint8Array): string {
  const end = field.indexOf(0)
  const bytes = end < 0 ? field : field.subarray(0, end)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    text = new TextDecoder('latin1').decode(bytes)
  }
  const path = text.replaceAll('\\', '/').normalize('NFC')
  try {
    checkPath(path)
  } catch (error) {
    legacyError(`Pack holds a path that cannot be imported: "${printable(path)}"`, error)
  }
  return path
}
