import { concatBytes } from '@keyturn/primitives'
import { KelError } from './errors.ts'
import type { DuplicityRecord, KelStore, LogRecord, LogStorage, StoredLog } from './storage.ts'

class MemoryLog implements LogStorage {
  readonly #records: LogRecord[] = []
  readonly #duplicities: Uint8Array[] = []

  get isEmpty(): boolean {
    return this.#records.length === 0
  }

  async read(): Promise<StoredLog | undefined> {
    if (this.isEmpty) return undefined
    return {
      stream: concatBytes(...this.#records.map(({ message }) => message)),
      version: String(this.#records.length),
    }
  }

  async append(record: LogRecord, expected: string | undefined): Promise<string> {
    const current = this.isEmpty ? undefined : String(this.#records.length)
    if (current !== expected)
      throw new KelError(
        'KEL_CONFLICT',
        `Log changed: it has ${this.#records.length} records, expected ${expected ?? 'none'}`,
      )
    this.#records.push({ ...record, message: new Uint8Array(record.message) })
    return String(this.#records.length)
  }

  async keepDuplicity({ message, againstMessage }: DuplicityRecord): Promise<void> {
    this.#duplicities.push(concatBytes(againstMessage, message))
  }

  async duplicities(): Promise<readonly Uint8Array[]> {
    return this.#duplicities
  }
}

/** A store that lives as long as the program. */
export function memoryStore(): KelStore {
  const logs = new Map<string, MemoryLog>()
  return {
    list: async () => [...logs].filter(([, log]) => !log.isEmpty).map(([prefix]) => prefix),
    log(prefix) {
      const log = logs.get(prefix) ?? new MemoryLog()
      logs.set(prefix, log)
      return log
    },
  }
}
