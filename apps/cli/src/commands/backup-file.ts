import { createReadStream } from 'node:fs'

/** Flags of `keyturn backup` and `keyturn restore`. */
export interface BackupOptions {
  readonly all?: boolean | undefined
  readonly force?: boolean | undefined
  readonly backupPassphraseFile?: string | undefined
  /** Folder for shares that are made in place of a passphrase. */
  readonly shares?: string | undefined
  readonly threshold?: string | undefined
  readonly count?: string | undefined
  /** Files with shares that open a backup. */
  readonly shareFile?: readonly string[] | undefined
}

/** The bytes of a backup file. */
export function readBackup(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>
}

/** A stream that ends with the reason once the command is stopped. */
export async function* stoppable(stream: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const piece of stream) {
    signal.throwIfAborted()
    yield piece
  }
}
