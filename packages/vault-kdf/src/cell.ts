import { utf8Decode, utf8Encode, wipe } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { checkId, checkName } from './place.ts'
import type { Layer, RecordId } from './place.ts'
import type { Expected, StoreChange } from './store.ts'
import { openAtCell, openFromCell, sealToCell } from './stream/cell-stream.ts'
import type { ByteStream, SealedSource, SealedStream } from './stream/stream.ts'
import type { VaultCore } from './vault-core.ts'

/** Options of {@link Cell.seal}. */
export interface SealOptions {
  /** Default 0, at rest. */
  layer?: Layer | undefined
  /** Resolved to the ids that layers 1 and 2 need. */
  token?: string | undefined
  /** From then on the record is gone; milliseconds since 1970. */
  expiresAt?: number | undefined
  /** What must be there now: `absent`, a revision, or `any` (default). */
  expected?: Expected | undefined
}

/** Options of reading and resealing. */
export interface OpenOptions {
  /** Resolved to the ids that layers 1 and 2 need. */
  token?: string | undefined
}

/** What is known of a record without opening it. */
export interface RecordSummary {
  readonly name: string
  readonly layer: Layer
  readonly keyVersion: number
  readonly legacy: boolean
  readonly bytes: number
  readonly revision: number
}

const pageSize = 200

/**
 * One cell: names and sealed bytes. A handle holds no key, so a turn of the master takes effect on the very next
 * operation.
 */
export class Cell {
  readonly partition: string
  readonly id: string
  readonly #core: VaultCore

  /** Made by {@link Partition.cell}. */
  constructor(core: VaultCore, partition: string, id: string) {
    checkId(id, 'cell')
    this.#core = core
    this.partition = partition
    this.id = id
  }

  /**
   * Seals bytes under the active key version and stores them.
   *
   * @throws VaultError `VK_INFO`, `VK_CONTEXT`, `VK_LIMIT`, `VK_CONFLICT`, `VK_VERSION_SUSPENDED`, `VK_STORE_IO`.
   */
  async seal(name: string, plaintext: Uint8Array, options: SealOptions = {}): Promise<{ keyVersion: number }> {
    checkName(name)
    const context = await this.#core.context(options.token)
    const place = { partition: this.partition, cell: this.id, name, layer: options.layer ?? 0, context }
    const { keyVersion } = await this.#core.write(place, plaintext, options.expected ?? 'any', options.expiresAt)
    return { keyVersion }
  }

  /**
   * Seals bytes without storing them: the write to give to a store inside a transaction of your own, so that a record
   * and the rows that belong to it are committed together (`PostgresStore.within(client).apply([draft])`). An outcome
   * other than `done` means that nothing was written: `stale` when the master was rotated since, `conflict` when
   * `expected` was not met. Roll back, and seal again.
   *
   * @throws VaultError `VK_INFO`, `VK_CONTEXT`, `VK_LIMIT`, `VK_VERSION_SUSPENDED`.
   */
  async draft(name: string, plaintext: Uint8Array, options: SealOptions = {}): Promise<StoreChange> {
    checkName(name)
    const context = await this.#core.context(options.token)
    const place = { partition: this.partition, cell: this.id, name, layer: options.layer ?? 0, context }
    return {
      put: await this.#core.seal(place, plaintext, options.expiresAt),
      expected: options.expected ?? 'any',
    }
  }

  /** {@link Cell.seal} for a text, as UTF-8. */
  async sealText(name: string, text: string, options: SealOptions = {}): Promise<{ keyVersion: number }> {
    const bytes = utf8Encode(text)
    try {
      return await this.seal(name, bytes, options)
    } finally {
      wipe(bytes)
    }
  }

  /** {@link Cell.open} for what {@link Cell.sealText} sealed. */
  async openText(name: string, options: OpenOptions = {}): Promise<string> {
    const bytes = await this.open(name, options)
    try {
      return utf8Decode(bytes)
    } finally {
      wipe(bytes)
    }
  }

  /** {@link Cell.seal} for a value that JSON can hold. */
  async sealJson(name: string, value: JsonValue, options: SealOptions = {}): Promise<{ keyVersion: number }> {
    return await this.sealText(name, JSON.stringify(value), options)
  }

  /** {@link Cell.open} for what {@link Cell.sealJson} sealed. */
  async openJson(name: string, options: OpenOptions = {}): Promise<JsonValue> {
    return JSON.parse(await this.openText(name, options)) as JsonValue
  }

  /**
   * Seals bytes of any length, chunk by chunk: give what this yields to a file or an object store, in order. The cell
   * keeps a small record with the secret of this stream and its length, which rotations and sweeps move like any
   * other; the sealed bytes stay as they are. The record is written just before the last chunk is given out.
   *
   * @param plaintext - Bytes in pieces of any size; at most two chunks of 64 KiB are in memory.
   * @param options - `expected` is `absent` unless given: a new record would make the bytes of an older one unreadable.
   * @throws VaultError as {@link Cell.seal}.
   */
  async *sealStream(name: string, plaintext: ByteStream, options: SealOptions = {}): AsyncGenerator<Uint8Array> {
    checkName(name)
    const context = await this.#core.context(options.token)
    const { layer = 0, expected = 'absent', expiresAt } = options
    yield* sealToCell(this.#core, { id: this.#id(name), layer, context, expected, expiresAt }, plaintext)
  }

  /**
   * Opens what {@link Cell.sealStream} sealed: each chunk is verified before it is given out. That nothing is missing
   * at the end is known when the loop has ended, and not before.
   *
   * @throws VaultError `VK_STREAM`, `VK_FORMAT` for another record, and as {@link Cell.open}.
   */
  async *openStream(name: string, sealed: ByteStream, options: OpenOptions = {}): AsyncGenerator<Uint8Array> {
    const context = await this.#core.context(options.token)
    yield* openFromCell(this.#core, this.#id(name), context, sealed)
  }

  /**
   * Opens a sealed stream by its places, so that ranges of it can be read; its length is verified at once. Close it
   * after use.
   *
   * @throws VaultError as {@link Cell.openStream}.
   */
  async openSealed(name: string, source: SealedSource, options: OpenOptions = {}): Promise<SealedStream> {
    const context = await this.#core.context(options.token)
    return openAtCell(this.#core, this.#id(name), context, source)
  }

  #id(name: string): RecordId {
    return { partition: this.partition, cell: this.id, name }
  }

  /**
   * Opens a record. What was sealed under an older version is sealed again in the background.
   *
   * @returns The plaintext; the caller wipes it.
   * @throws VaultError `VK_NOT_FOUND`, `VK_AUTH`, `VK_FORMAT`, `VK_CONTEXT`, `VK_VERSION_*`, `VK_PROVIDER`.
   */
  async open(name: string, options: OpenOptions = {}): Promise<Uint8Array> {
    const core = this.#core
    const context = await core.context(options.token)
    const { record, opened } = await core.read({ partition: this.partition, cell: this.id, name }, context)
    if (opened.legacyProfile !== undefined) {
      await core.audit.append({
        type: 'legacy_opened',
        outcome: 'done',
        partition: this.partition,
        cell: this.id,
        name,
        layer: record.layer,
        fromVersion: opened.keyVersion,
        details: { profile: opened.legacyProfile },
      })
    }
    if (record.format === 'v0' || !core.keyring.isActive(opened.keyVersion)) {
      core.lazyReseal(record, context, opened)
    }
    return opened.plaintext
  }

  /**
   * Seals a record again under the active version, in place and without giving its plaintext out.
   *
   * @returns `current` when it was under the active version already, `superseded` when a writer was faster.
   */
  async reseal(name: string, options: OpenOptions = {}): Promise<'resealed' | 'current' | 'superseded'> {
    const core = this.#core
    const context = await core.context(options.token)
    const { record, opened } = await core.read({ partition: this.partition, cell: this.id, name }, context)
    try {
      if (record.format === 'v1' && record.keyVersion === core.keyring.activeVersion) return 'current'
      return await core.reseal(record, context, opened.plaintext)
    } finally {
      wipe(opened.plaintext)
    }
  }

  /** Removes a record. @throws VaultError `VK_NOT_FOUND`. */
  async remove(name: string): Promise<void> {
    this.#core.checkOpen()
    const id = { partition: this.partition, cell: this.id, name }
    const [outcome] = await this.#core.store.apply([{ remove: id, expected: 'any' }])
    if (outcome !== 'done') throw new VaultError('VK_NOT_FOUND', `There is no record "${name}" in cell "${this.id}"`)
    await this.#core.audit.append({ type: 'remove', outcome: 'done', partition: this.partition, cell: this.id, name })
  }

  /** The records of the cell in the order of their names. */
  async *list(): AsyncIterable<RecordSummary> {
    const { partition, id: cell } = this
    let after: { partition: string; cell: string; name: string } | undefined
    for (;;) {
      this.#core.checkOpen()
      const page = await this.#core.store.scan({
        partition,
        cell,
        limit: pageSize,
        after,
      })
      for (const { name, layer, keyVersion, format, envelope, revision } of page) {
        yield { name, layer, keyVersion, legacy: format === 'v0', bytes: envelope.length, revision }
      }
      after = page.at(-1)
      if (page.length < pageSize || after === undefined) return
    }
  }
}
