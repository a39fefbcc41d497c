import { createReadStream } from 'node:fs'

/** Flags of `keyturn backup` and `keyturn restore`. */
export interface BackupOptions {
  readonly all?: boolean | undefined
  readonly force?: boolean | undefined
  readonly backupPassphraseFile?: string | undefined
}

/** The bytes of a backup file. */
export function readBackup(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>
}
