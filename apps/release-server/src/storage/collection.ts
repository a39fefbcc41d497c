import type { JsonValue } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { ListQuery, RecordReader, RecordWriter, StoredRecord } from './metadata-store.ts'
import { ShapeError } from './shape.ts'
import type { Shape } from './shape.ts'

/** A record with its value read. */
export interface Entry<T> {
  readonly key: string
  readonly value: T
  readonly body: Uint8Array | undefined
}

/** A record to write. */
export interface NewEntry<T> {
  readonly key: string
  readonly value: T
  readonly body?: Uint8Array | undefined
}

/** Records read at once where all of a collection are wanted. */
const PAGE_SIZE = 5000

/**
 * A collection whose records have one type. What is stored comes from a disk, a database or an older version, so every
 * record is parsed when it is read; one that does not fit is a fault of the storage, never of the caller.
 */
export class Collection<T> {
  /** Name in the store; part of the stored format. */
  readonly name: string
  readonly #shape: Shape<T>

  constructor(name: string, shape: Shape<T>) {
    this.name = name
    this.#shape = shape
  }

  /** The value of a record; `undefined` when there is none. */
  async get(records: RecordReader, key: string): Promise<T | undefined> {
    return (await this.find(records, key))?.value
  }

  /** A record with its bytes; `undefined` when there is none. */
  async find(records: RecordReader, key: string): Promise<Entry<T> | undefined> {
    const found = await records.get(this.name, key)
    return found === undefined ? undefined : this.#read(found)
  }

  /** The bytes of a record, whatever its value; `undefined` when there is none. */
  async body(records: RecordReader, key: string): Promise<Uint8Array | undefined> {
    return (await records.get(this.name, key))?.body
  }

  /** Those of these records that exist, in no order, without their bytes. */
  async getMany(records: RecordReader, keys: readonly string[]): Promise<Entry<T>[]> {
    return (await records.getMany(this.name, keys)).map((found) => this.#read(found))
  }

  /** One page of records. */
  async list(records: RecordReader, query?: ListQuery): Promise<Entry<T>[]> {
    return (await records.list(this.name, query)).map((found) => this.#read(found))
  }

  /** All records in order of their keys, one page at a time in memory. */
  async *pages(records: RecordReader, query: Omit<ListQuery, 'reverse'> = {}): AsyncGenerator<Entry<T>[]> {
    const { limit = PAGE_SIZE } = query
    for (let { after } = query; ;) {
      const page = await this.list(records, { ...query, limit, after })
      if (page.length > 0) yield page
      if (page.length < limit) return
      after = page.at(-1)?.key
    }
  }

  /** All records in order of their keys. */
  async all(records: RecordReader, query: Pick<ListQuery, 'prefix' | 'bodies'> = {}): Promise<Entry<T>[]> {
    const found: Entry<T>[] = []
    for await (const page of this.pages(records, query)) found.push(...page)
    return found
  }

  /** Writes records, over those that exist. */
  put(records: RecordWriter, ...entries: NewEntry<T>[]): Promise<void> {
    return records.put(this.name, ...entries.map(written))
  }

  /** Writes a record only where none exists; returns whether it did. */
  insert(records: RecordWriter, entry: NewEntry<T>): Promise<boolean> {
    return records.insert(this.name, written(entry))
  }

  /** Deletes records. */
  delete(records: RecordWriter, ...keys: string[]): Promise<void> {
    return records.delete(this.name, ...keys)
  }

  #read({ key, value, body }: StoredRecord): Entry<T> {
    try {
      return { key, value: this.#shape(value, ''), body }
    } catch (cause) {
      if (!(cause instanceof ShapeError)) throw cause
      throw new ServerError('SRV_STORAGE', `Cannot read record "${key}" of "${this.name}": ${cause.message}`, {
        cause,
        hint: 'Restore the metadata store from its backup; "keyturn-server fsck" checks the stores against each other',
      })
    }
  }
}

/** Values are objects of JSON by their types; a member that is `undefined` is left out by JSON as it should be. */
function written<T>({ key, value, body }: NewEntry<T>): {
  key: string
  value: JsonValue
  body: Uint8Array | undefined
} {
  return { key, value: value as unknown as JsonValue, body }
}

/** A collection of records of one type. */
export function collection<T>(name: string, shape: Shape<T>): Collection<T> {
  return new Collection(name, shape)
}
