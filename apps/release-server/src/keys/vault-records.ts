import { VaultError } from '@keyturn/vault-kdf'
import type {
  CensusRow,
  RecordId,
  ScanQuery,
  StoreChange,
  StoredRecord,
  VaultRecord,
  VaultStore,
} from '@keyturn/vault-kdf'
import { collection } from '../storage/collection.ts'
import type { Entry } from '../storage/collection.ts'
import type { MetadataStore, RecordWriter } from '../storage/metadata-store.ts'
import { ShapeError, object, whole } from '../storage/shape.ts'
import type { Shape } from '../storage/shape.ts'
import { isRecord } from '@keyturn/primitives'

type DocumentWrite = NonNullable<Parameters<VaultStore['apply']>[1]>
type Fence = NonNullable<DocumentWrite['fence']>

const LOCK = 'vault'
const PAGE_SIZE = 1000

/** Names in the vault hold no control characters, so this separator keeps their order. */
function keyOf({ partition, cell, name }: RecordId): string {
  return `${partition}\u0001${cell}\u0001${name}`
}

interface Columns extends Omit<VaultRecord, 'envelope' | 'sidecar'> {
  readonly revision: number
  readonly envelopeBytes: number
}

/** The columns belong to the vault, which checks them; what this store needs of them is checked here. */
const columns: Shape<Columns> = (value, place) => {
  const { revision, envelopeBytes } = object<Pick<Columns, 'revision' | 'envelopeBytes'>>({
    revision: whole,
    envelopeBytes: whole,
  })(value, place)
  if (!isRecord(value)) throw new ShapeError(place, 'an object')
  return { ...(value as unknown as Columns), revision, envelopeBytes }
}

const fence: Shape<Fence> = (value, place) => {
  object<{ readonly activeVersion: number }>({ activeVersion: whole })(value, place)
  return value as unknown as Fence
}

const records = collection('vault-records', columns)
const documents = collection('vault-documents', object<{ readonly revision: number }>({ revision: whole }))
/** Which version of the master may seal; in the collection of the documents. */
const fences = collection('vault-documents', fence)

/** The sealed bytes and, after them, the sidecar; the columns say where the first end. */
function bodyOf({ envelope, sidecar = new Uint8Array(0) }: VaultRecord): Uint8Array {
  const body = new Uint8Array(envelope.length + sidecar.length)
  body.set(envelope)
  body.set(sidecar, envelope.length)
  return body
}

function recordOf({ value, body = new Uint8Array(0) }: Entry<Columns>): StoredRecord {
  const { envelopeBytes, ...own } = value
  const sidecar = body.subarray(envelopeBytes)
  return { ...own, envelope: body.subarray(0, envelopeBytes), ...(sidecar.length === 0 ? {} : { sidecar }) }
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
    const found = await records.find(this.#metadata, keyOf(id))
    return found === undefined ? undefined : recordOf(found)
  }

  /** See `VaultStore.apply`. */
  apply(changes: readonly StoreChange[], document?: DocumentWrite): ReturnType<VaultStore['apply']> {
    return this.#metadata.transaction([LOCK], async (writer) => {
      if (document !== undefined) await putDocument(writer, document)
      const current = await fences.get(writer, 'fence')
      const outcomes: Awaited<ReturnType<VaultStore['apply']>>[number][] = []
      for (const change of changes) outcomes.push(await applyChange(writer, change, current))
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
    const after = query.after === undefined ? undefined : keyOf(query.after)
    for await (const page of records.pages(this.#metadata, { prefix, after, limit: PAGE_SIZE, bodies: true })) {
      for (const item of page) {
        const record = recordOf(item)
        const wanted =
          (query.keyVersion === undefined || (record.format === 'v1' && record.keyVersion === query.keyVersion)) &&
          (query.format === undefined || record.format === query.format)
        if (wanted && found.length < query.limit) found.push(record)
      }
      if (found.length >= query.limit) break
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
    const found = await documents.find(this.#metadata, `document ${name}`)
    if (found?.body === undefined) return undefined
    return { bytes: found.body, revision: found.value.revision }
  }

  /** See `VaultStore.readFence`. */
  async readFence(): Promise<Fence | undefined> {
    return fences.get(this.#metadata, 'fence')
  }

  /** The metadata store belongs to the server. */
  async close(): Promise<void> {}
}

async function putDocument(writer: RecordWriter, { name, bytes, expected, fence: next }: DocumentWrite): Promise<void> {
  const old = await documents.get(writer, `document ${name}`)
  const fits = expected === 'absent' ? old === undefined : old?.revision === expected
  if (!fits)
    throw new VaultError('VK_CONFLICT', `Document "${name}" was changed by another process`, {
      details: { document: name },
    })
  await documents.put(writer, { key: `document ${name}`, value: { revision: (old?.revision ?? 0) + 1 }, body: bytes })
  if (next !== undefined) await fences.put(writer, { key: 'fence', value: next })
}

async function applyChange(
  writer: RecordWriter,
  change: StoreChange,
  current: Fence | undefined,
): Promise<'done' | 'conflict' | 'stale'> {
  const id = 'put' in change ? change.put : change.remove
  const key = keyOf(id)
  const revision = (await records.get(writer, key))?.revision
  if ('put' in change && change.put.format === 'v1' && current?.activeVersion !== change.put.keyVersion) return 'stale'
  const fits =
    change.expected === 'any' || (change.expected === 'absent' ? revision === undefined : revision === change.expected)
  if (!fits) return 'conflict'
  if ('remove' in change) {
    await records.delete(writer, key)
    return 'done'
  }
  const { envelope, sidecar: _inBody, ...own } = change.put
  const value = { ...own, revision: (revision ?? 0) + 1, envelopeBytes: envelope.length }
  await records.put(writer, { key, value, body: bodyOf(change.put) })
  return 'done'
}
