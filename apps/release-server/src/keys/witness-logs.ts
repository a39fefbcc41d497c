import { setImmediate as nextTurn } from 'node:timers/promises'
import { KelError } from '@keyturn/kel'
import type { DuplicityRecord, KelStore, LogRecord, LogStorage, StoredLog } from '@keyturn/kel'
import { concatBytes } from '@keyturn/primitives'
import { collection } from '../storage/collection.ts'
import type { Collection } from '../storage/collection.ts'
import type { MetadataStore, RecordReader } from '../storage/metadata-store.ts'
import { numeric, object, text, whole } from '../storage/shape.ts'

/** Records of the logs: each message, with what is known about it. */
const logs = collection(
  'witness-logs',
  object<{
    readonly said: string
    readonly sn: number
    readonly type: string
    readonly first_seen: number
    readonly seen_at_ms: number
    readonly source: string
  }>({
    said: text,
    sn: whole,
    type: text,
    first_seen: whole,
    seen_at_ms: numeric,
    source: text,
  }),
)
/** How many records each log has, by its prefix. */
export const witnessTips = collection('witness-tips', object<{ readonly count: number }>({ count: whole }))
/** Proofs of a second event at a place. */
const duplicities = collection('witness-duplicities', object<{ readonly against: string }>({ against: text }))
/** What earlier versions kept: the first event that they saw at a place, under the same key. */
const seenBefore = collection(
  'witnessed',
  object<{ readonly said: string; readonly type: string }>({ said: text, type: text }),
)

/** Records of a log in one read. */
const RECORDS_PER_READ = 200

/** Key of a record, or of a receipt, of a log: numbers with leading zeros, so that keys sort as numbers do. */
export function recordKey(prefix: string, at: number): string {
  return `${prefix}/${String(at).padStart(10, '0')}`
}

/** Bodies of an identity in order; a log has thousands, so other requests come in between the pages. */
async function bodies<T>(metadata: MetadataStore, from: Collection<T>, prefix: string): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  for await (const page of from.pages(metadata, { prefix: `${prefix}/`, bodies: true, limit: RECORDS_PER_READ })) {
    found.push(...page.flatMap(({ body }) => (body === undefined ? [] : [body])))
    await nextTurn()
  }
  return found
}

/** A receipt given under this key binds the witness, wherever it was stored. */
async function refuseSecond(records: RecordReader, prefix: string, { said, sn, type }: LogRecord): Promise<void> {
  const old = await seenBefore.get(records, `${prefix}/${String(sn).padStart(16, '0')}`)
  const recovers = old?.type === 'ixn' && (type === 'rot' || type === 'drt')
  if (old === undefined || old.said === said || type === 'rct' || recovers) return
  throw new KelError('KEL_DUPLICITY', `Another event was receipted at place ${sn} of ${prefix}`, {
    details: { said, against: old.said },
  })
}

/**
 * The log of one identity in the metadata store. Its version is the number of records: two replicas cannot both append.
 */
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
      const count = (await witnessTips.get(records, this.#prefix))?.count ?? 0
      const current = count === 0 ? undefined : String(count)
      if (current !== expected)
        throw new KelError('KEL_CONFLICT', `Log changed: it has ${count} records, expected ${expected ?? 'none'}`)
      await refuseSecond(records, this.#prefix, record)
      await logs.put(records, {
        key: recordKey(this.#prefix, count),
        value: { said, sn, type, first_seen: firstSeen, seen_at_ms: seenAtMs, source },
        body: message,
      })
      await witnessTips.put(records, { key: this.#prefix, value: { count: count + 1 } })
      return String(count + 1)
    })
  }

  async keepDuplicity({ said, message, against, againstMessage }: DuplicityRecord): Promise<void> {
    const body = concatBytes(againstMessage, message)
    await this.#metadata.transaction([], (records) =>
      duplicities.put(records, { key: `${this.#prefix}/${said}`, value: { against }, body }),
    )
  }

  duplicities(): Promise<readonly Uint8Array[]> {
    return bodies(this.#metadata, duplicities, this.#prefix)
  }
}

/** Logs that the witness keeps, in the metadata store of the server, so that all replicas are one witness. */
export function witnessLogs(metadata: MetadataStore): KelStore {
  return {
    list: async () => (await witnessTips.all(metadata)).map(({ key }) => key),
    log: (prefix) => new WitnessLog(metadata, prefix),
  }
}
