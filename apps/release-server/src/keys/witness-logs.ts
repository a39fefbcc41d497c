import { KelError } from '@keyturn/kel'
import type { DuplicityRecord, KelStore, LogRecord, LogStorage, StoredLog } from '@keyturn/kel'
import { concatBytes } from '@keyturn/primitives'
import type { MetadataStore, RecordReader } from '../storage/metadata-store.ts'

const logs = 'witness-logs'
const tips = 'witness-tips'
const duplicities = 'witness-duplicities'
/** What witnesses of before kept: the first event that they saw at a place, under the same key. */
const seenBefore = 'witnessed'
const pageSize = 1000

function recordKey(prefix: string, at: number): string {
  return `${prefix}/${String(at).padStart(10, '0')}`
}

async function bodies(metadata: MetadataStore, collection: string, prefix: string): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  for (let after: string | undefined; ;) {
    const page = await metadata.list(collection, {
      prefix: `${prefix}/`,
      limit: pageSize,
      bodies: true,
      ...(after === undefined ? {} : { after }),
    })
    for (const { body } of page) if (body !== undefined) found.push(body)
    after = page.at(-1)?.key
    if (page.length < pageSize) return found
  }
}

/** A receipt that was given under this key binds it, wherever it was written down. */
async function refuseSecond(records: RecordReader, prefix: string, { said, sn, type }: LogRecord): Promise<void> {
  const old = (await records.get(seenBefore, `${prefix}/${String(sn).padStart(16, '0')}`))?.value as
    | { said: string; type: string }
    | undefined
  const recovers = old?.type === 'ixn' && (type === 'rot' || type === 'drt')
  if (old === undefined || old.said === said || type === 'rct' || recovers) return
  throw new KelError('KEL_DUPLICITY', `Another event was receipted at place ${sn} of ${prefix}`, {
    details: { said, against: old.said },
  })
}

/** The log of one identity in the metadata store. Its version is the number of records: two replicas cannot both append. */
class WitnessLog implements LogStorage {
  readonly #metadata: MetadataStore
  readonly #prefix: string

  constructor(metadata: MetadataStore, prefix: string) {
    this.#metadata = metadata
    this.#prefix = prefix
  }

  async read(): Promise<StoredLog | undefined> {
    const records = await bodies(this.#metadata, logs, this.#prefix)
    return records.length === 0 ? undefined : { stream: concatBytes(...records), version: String(records.length) }
  }

  append(record: LogRecord, expected: string | undefined): Promise<string> {
    const { said, sn, type, message, firstSeen, seenAtMs, source } = record
    return this.#metadata.transaction([`witness:${this.#prefix}`], async (records) => {
      const count = ((await records.get(tips, this.#prefix))?.value as { count: number } | undefined)?.count ?? 0
      const current = count === 0 ? undefined : String(count)
      if (current !== expected)
        throw new KelError('KEL_CONFLICT', `Log changed: it has ${count} records, expected ${expected ?? 'none'}`)
      await refuseSecond(records, this.#prefix, record)
      await records.put(logs, {
        key: recordKey(this.#prefix, count),
        value: { said, sn, type, first_seen: firstSeen, seen_at_ms: seenAtMs, source },
        body: message,
      })
      await records.put(tips, { key: this.#prefix, value: { count: count + 1 } })
      return String(count + 1)
    })
  }

  async keepDuplicity({ said, message, against, againstMessage }: DuplicityRecord): Promise<void> {
    const body = concatBytes(againstMessage, message)
    await this.#metadata.transaction([], (records) =>
      records.put(duplicities, { key: `${this.#prefix}/${said}`, value: { against }, body }),
    )
  }

  duplicities(): Promise<readonly Uint8Array[]> {
    return bodies(this.#metadata, duplicities, this.#prefix)
  }
}

/** Logs that the witness keeps, in the metadata store of the server, so that all replicas are one witness. */
export function witnessLogs(metadata: MetadataStore): KelStore {
  return {
    list: async () => (await metadata.list(tips, { limit: 1_000_000 })).map(({ key }) => key),
    log: (prefix) => new WitnessLog(metadata, prefix),
  }
}
