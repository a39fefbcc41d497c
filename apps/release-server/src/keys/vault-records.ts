import { VaultError } from '@keyturn/vault-kdf'
import type { JsonObject } from '@keyturn/primitives'
import type {
  CensusRow,
  RecordId,
  ScanQuery,
  StoreChange,
  StoredRecord,
  VaultRecord,
  VaultStore,
} from '@keyturn/vault-kdf'
import type { MetadataStore, RecordWriter, StoredRecord as MetadataRecord } from '../storage/metadata-store.ts'

type DocumentWrite = NonNullable<Parameters<VaultStore['apply']>[1]>
type Fence = NonNullable<DocumentWrite['fence']>

const records = 'vault-records'
const documents = 'vault-documents'
const lock = 'vault'
const pageSize = 1000

/** Names in the vault hold no control characters, so this separator keeps their order. */
function keyOf({ partition, cell, name }: RecordId): string {
  return `${partition}\u0001${cell}\u0001${name}`
}

interface Columns extends Omit<VaultRecord, 'envelope' | 'sidecar'> {
  readonly revision: number
  readonly envelopeBytes: number
}

/** The sealed bytes and, after them, the sidecar; the columns tell where one ends. */
function bodyOf({ envelope, sidecar = new Uint8Array(0) }: VaultRecord): Uint8Array {
  const body = new Uint8Array(envelope.length + sidecar.length)
  body.set(envelope)
  body.set(sidecar, envelope.length)
  return body
}

function recordOf({ value, body = new Uint8Array(0) }: MetadataRecord): StoredRecord {
  const { envelopeBytes, ...columns } = value as unknown as Columns
  const sidecar = body.subarray(envelopeBytes)
  return { ...columns, envelope: body.subarray(0, envelopeBytes), ...(sidecar.length === 0 ? {} : { sidecar }) }
}

/**
 * The store of a vault in the metadata store of the server, so that all replicas share one vault: sealed records and
 * the keyring, no key.
 */
export class VaultRecords implements VaultStore {
  readonly #metadata: MetadataStore

  constructor(metadata: MetadataStore) {
    this.#metadata = metadata
  }

  /** See `VaultStore.get`. */
  async get(id: RecordId): Promise<StoredRecord | undefined> {
    const found = await this.#metadata.get(records, keyOf(id))
    return found === undefined ? undefined : recordOf(found)
  }

  /** See `VaultStore.apply`. */
  apply(changes: readonly StoreChange[], document?: DocumentWrite): ReturnType<VaultStore['apply']> {
    return this.#metadata.transaction([lock], async (writer) => {
      if (document !== undefined) await putDocument(writer, document)
      const fence = (await writer.get(documents, 'fence'))?.value as unknown as Fence | undefined
      const outcomes: Awaited<ReturnType<VaultStore['apply']>>[number][] = []
      for (const change of changes) outcomes.push(await applyChange(writer, change, fence))
      return outcomes
    })
  }

  /** See `VaultStore.scan`. */
  async scan(query: ScanQuery): Promise<readonly StoredRecord[]> {
    const prefix =
      query.partition === undefined
        ? ''
        : `${query.partition}\u0001${query.cell === undefined ? '' : `${query.cell}\u0001`}`
    const found: StoredRecord[] = []
    for (let after = query.after === undefined ? undefined : keyOf(query.after); found.length < query.limit;) {
      const page = await this.#metadata.list(records, {
        prefix,
        limit: pageSize,
        bodies: true,
        ...(after === undefined ? {} : { after }),
      })
      for (const item of page) {
        const record = recordOf(item)
        const wanted =
          (query.keyVersion === undefined || (record.format === 'v1' && record.keyVersion === query.keyVersion)) &&
          (query.format === undefined || record.format === query.format)
        if (wanted && found.length < query.limit) found.push(record)
      }
      after = page.at(-1)?.key
      if (page.length < pageSize) break
    }
    return found
  }

  /** See `VaultStore.census`. */
  async census(): Promise<readonly CensusRow[]> {
    const rows = new Map<
      string,
      { keyVersion: number; layer: CensusRow['layer']; format: CensusRow['format']; count: number; bytes: number }
    >()
    for (const { keyVersion, layer, format, envelope } of await this.scan({ limit: Number.MAX_SAFE_INTEGER })) {
      const key = `${keyVersion}/${layer}/${format}`
      const row = rows.get(key) ?? { keyVersion, layer, format, count: 0, bytes: 0 }
      row.count += 1
      row.bytes += envelope.length
      rows.set(key, row)
    }
    return [...rows.values()]
  }

  /** See `VaultStore.readDocument`. */
  async readDocument(name: string): Promise<{ bytes: Uint8Array; revision: number } | undefined> {
    const found = await this.#metadata.get(documents, `document ${name}`)
    if (found?.body === undefined) return undefined
    return { bytes: found.body, revision: (found.value as { revision: number }).revision }
  }

  /** See `VaultStore.readFence`. */
  async readFence(): Promise<Fence | undefined> {
    return (await this.#metadata.get(documents, 'fence'))?.value as unknown as Fence | undefined
  }

  /** The metadata store belongs to the server. */
  async close(): Promise<void> {}
}

async function putDocument(writer: RecordWriter, { name, bytes, expected, fence }: DocumentWrite): Promise<void> {
  const old = (await writer.get(documents, `document ${name}`))?.value as { revision: number } | undefined
  const fits = expected === 'absent' ? old === undefined : old?.revision === expected
  if (!fits)
    throw new VaultError('VK_CONFLICT', `Document "${name}" was changed by somebody else`, {
      details: { document: name },
    })
  await writer.put(documents, { key: `document ${name}`, value: { revision: (old?.revision ?? 0) + 1 }, body: bytes })
  if (fence !== undefined) await writer.put(documents, { key: 'fence', value: { ...fence } as unknown as JsonObject })
}

async function applyChange(
  writer: RecordWriter,
  change: StoreChange,
  fence: Fence | undefined,
): Promise<'done' | 'conflict' | 'stale'> {
  const id = 'put' in change ? change.put : change.remove
  const key = keyOf(id)
  const revision = ((await writer.get(records, key))?.value as unknown as Columns | undefined)?.revision
  if ('put' in change && change.put.format === 'v1' && fence?.activeVersion !== change.put.keyVersion) return 'stale'
  const fits =
    change.expected === 'any' || (change.expected === 'absent' ? revision === undefined : revision === change.expected)
  if (!fits) return 'conflict'
  if ('remove' in change) {
    await writer.delete(records, key)
    return 'done'
  }
  const { envelope, sidecar: _inBody, ...columns } = change.put
  const value = { ...columns, revision: (revision ?? 0) + 1, envelopeBytes: envelope.length } as unknown as JsonObject
  await writer.put(records, { key, value, body: bodyOf(change.put) })
  return 'done'
}
