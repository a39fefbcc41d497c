import { dirname } from 'node:path'
import { nodeFileSystem, syncFolder, isMissing, writeAll } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { utf8Encode } from '@keyturn/primitives'
import { parseAuditRecord, writeAuditRecord } from '../audit/record.ts'
import type { AuditRecord } from '../audit/record.ts'
import { seqTaken } from '../audit/store.ts'
import type { AuditStore } from '../audit/store.ts'
import { VaultError } from '../errors.ts'

const chunkBytes = 64 * 1024
const lineEnd = 0x0a

/**
 * The audit chain as a file of JSON lines, fsynced with every record. A torn last line (the process died in the write)
 * is cut off by the next writer; a torn line anywhere else is damage, which `verify` names. One process at a time:
 * that of the folder beside it.
 */
export class FileAuditStore implements AuditStore {
  readonly #path: string
  readonly #fs: FileSystem
  #handle: FileHandle | undefined
  #end = 0
  #seq: number | undefined

  /** @param path - The file; made on the first record with mode 0600. */
  constructor(path: string, options: { fs?: FileSystem } = {}) {
    this.#path = path
    this.#fs = options.fs ?? nodeFileSystem
  }

  /** See {@link AuditStore.last}. */
  async last(): Promise<AuditRecord | undefined> {
    let last: AuditRecord | undefined
    let end = 0
    for await (const line of this.#lines()) {
      if (!line.whole) break
      last = parseAuditRecord(line.bytes)
      end += line.bytes.length + 1
    }
    this.#end = end
    this.#seq = last?.seq ?? 0
    return last
  }

  /** See {@link AuditStore.append}. */
  async append(record: AuditRecord): Promise<void> {
    if (this.#seq === undefined) await this.last()
    if (record.seq !== (this.#seq ?? 0) + 1) throw seqTaken(record.seq)
    const handle = (this.#handle ??= await this.#open())
    const line = utf8Encode(`${writeAuditRecord(record)}\n`)
    try {
      await writeAll(handle, line, this.#end)
      await handle.sync()
    } catch (cause) {
      this.#seq = undefined // what is on the disk is to be read again
      throw new VaultError('VK_AUDIT', 'The audit file could not be written', { cause })
    }
    this.#end += line.length
    this.#seq = record.seq
  }

  /** See {@link AuditStore.records}. A torn last line is left out. */
  async *records(): AsyncIterable<AuditRecord> {
    let seq = 0
    for await (const line of this.#lines()) {
      if (!line.whole) return
      seq += 1
      try {
        yield parseAuditRecord(line.bytes)
      } catch (cause) {
        throw new VaultError('VK_AUDIT_BROKEN', `Audit record ${seq} cannot be read`, { cause, details: { seq } })
      }
    }
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#handle?.close()
    this.#handle = undefined
  }

  async #open(): Promise<FileHandle> {
    try {
      const handle = await this.#fs.open(this.#path, 'r+')
      await handle.truncate(this.#end)
      return handle
    } catch (error) {
      if (!isMissing(error)) throw error
    }
    const handle = await this.#fs.open(this.#path, 'wx', 0o600)
    await syncFolder(dirname(this.#path), this.#fs)
    return handle
  }

  async *#lines(): AsyncIterable<{ bytes: Uint8Array; whole: boolean }> {
    let handle: FileHandle
    try {
      handle = await this.#fs.open(this.#path, 'r')
    } catch (error) {
      if (isMissing(error)) return
      throw error
    }
    try {
      let rest = new Uint8Array(0)
      for (const chunk = new Uint8Array(chunkBytes); ;) {
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null)
        if (bytesRead === 0) break
        const bytes = new Uint8Array(rest.length + bytesRead)
        bytes.set(rest)
        bytes.set(chunk.subarray(0, bytesRead), rest.length)
        let start = 0
        for (let end = bytes.indexOf(lineEnd, rest.length); end !== -1; end = bytes.indexOf(lineEnd, start)) {
          yield { bytes: bytes.slice(start, end), whole: true }
          start = end + 1
        }
        rest = bytes.slice(start)
      }
      if (rest.length > 0) yield { bytes: rest, whole: false }
    } finally {
      await handle.close()
    }
  }
}
