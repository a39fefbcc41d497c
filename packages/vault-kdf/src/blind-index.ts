import {
  PrimitivesError,
  base64Decode,
  base64Encode,
  canonicalJson,
  hkdfSha256,
  hmacSha256,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { labels } from './labels.ts'
import { be32, lengthPrefixed } from './length-prefixed.ts'
import { KEY_BYTES } from './limits.ts'
import type { RecordId } from './place.ts'
import type { VaultCore } from './vault-core.ts'

/** Options of {@link Partition.blindIndex}. */
export interface BlindIndexOptions {
  /**
   * Length of an index in bits, a multiple of 8 from 8 to 256; default 256. A short one is the same for several values
   * on purpose: the store learns less, and you compare what a search finds after opening it.
   */
  readonly bits?: number | undefined
}

/** Options of {@link BlindIndex.finishRotation}. */
export interface FinishRotationOptions {
  /** How long ago the rotation must have begun; default 60,000 ms, so that no process writes older indexes any more. */
  readonly minimumAgeMs?: number | undefined
}

/** Cell that holds the keys of a partition's indexes, one record a column: sealed, swept and erased like any other. */
const CELL = 'keyturn.blind-index'
const FORMAT = 'keyturn-blind-index-1'
const MAX_GENERATION = 0xffff_ffff
const DEFAULT_MINIMUM_AGE_MS = 60_000

interface Generation {
  readonly number: number
  readonly bits: number
  readonly madeAt: number
  readonly secret: Uint8Array
}

/**
 * Index of a value under one generation: HMAC-SHA-256 under a key of partition, column and generation, cut to its bits.
 * docs/spec/vault-kdf.md §13.
 *
 * @param secret - 32 bytes of that generation; neither kept nor modified.
 */
export function blindIndexOf(
  secret: Uint8Array,
  of: { readonly partition: string; readonly column: string; readonly generation: number; readonly bits: number },
  value: Uint8Array | string,
): Uint8Array {
  const info = lengthPrefixed(labels.blindIndex, of.partition, of.column, be32(of.generation))
  const key = hkdfSha256(secret, new Uint8Array(0), info, KEY_BYTES)
  try {
    return hmacSha256(key, lengthPrefixed(labels.blindIndex, value)).slice(0, of.bits / 8)
  } finally {
    wipe(key)
  }
}

/** Equality search over sealed values of one column of one partition. Made by {@link Partition.blindIndex}. */
export class BlindIndex {
  readonly column: string
  readonly #core: VaultCore
  readonly #id: RecordId
  readonly #bits: number

  private constructor(core: VaultCore, partition: string, column: string, bits: number) {
    this.#core = core
    this.#id = { partition, cell: CELL, name: column }
    this.#bits = bits
    this.column = column
  }

  /** See {@link Partition.blindIndex}. */
  static async open(
    core: VaultCore,
    partition: string,
    column: string,
    { bits = 256 }: BlindIndexOptions,
  ): Promise<BlindIndex> {
    checkBits(bits)
    const index = new BlindIndex(core, partition, column, bits)
    await index.#generations()
    return index
  }

  /**
   * The index to store beside a sealed value.
   *
   * @param value - Its exact bytes, a text as UTF-8: bring case, spaces and normal form to one form before.
   */
  async index(value: Uint8Array | string): Promise<Uint8Array> {
    const { list } = await this.#generations()
    return this.#of(list.slice(-1), value)[0] as Uint8Array // a record has one generation at least
  }

  /** Every index under which a value may be stored, the present one first: two while a rotation is under way. */
  async search(value: Uint8Array | string): Promise<readonly Uint8Array[]> {
    const { list } = await this.#generations()
    return this.#of(list.toReversed(), value)
  }

  /** Whether a rotation was begun and not finished. */
  async isRotating(): Promise<boolean> {
    const { list } = await this.#generations()
    wipe(...list.map(({ secret }) => secret))
    return list.length > 1
  }

  /**
   * Begins a rotation: a new key, whose indexes are stored from now on; those of the old one are still found. Then
   * store the index of every row again, and call {@link BlindIndex.finishRotation}.
   *
   * @throws VaultError `VK_STATE` while one is under way, `VK_CONFLICT`.
   */
  async rotate({ bits }: BlindIndexOptions = {}): Promise<void> {
    if (bits !== undefined) checkBits(bits)
    const { list, revision } = await this.#generations()
    const [last] = list
    if (list.length > 1 || last === undefined)
      throw new VaultError('VK_STATE', `The index of column "${this.column}" is being rotated already`, {
        hint: 'Store the index of every row again, then call finishRotation()',
      })
    if (last.number === MAX_GENERATION) throw new VaultError('VK_LIMIT', 'The index has had all its generations')
    await this.#save([last, this.#fresh(last.number + 1, bits ?? last.bits)], revision)
    await this.#record('blind_index_rotated', last.number + 1)
  }

  /**
   * Ends a rotation: what is still stored under the old key is not found any more.
   *
   * @throws VaultError `VK_STATE` when none is under way, `VK_QUARANTINE` when it began too short a time ago,
   * `VK_CONFLICT`.
   */
  async finishRotation({ minimumAgeMs = DEFAULT_MINIMUM_AGE_MS }: FinishRotationOptions = {}): Promise<void> {
    const { list, revision } = await this.#generations()
    const [, last] = list
    if (last === undefined)
      throw new VaultError('VK_STATE', `The index of column "${this.column}" is not being rotated`)
    const until = last.madeAt + minimumAgeMs
    if (this.#core.clock() < until)
      throw new VaultError('VK_QUARANTINE', `The rotation may be finished at ${new Date(until).toISOString()}`, {
        details: { until },
      })
    await this.#save([last], revision)
    await this.#record('blind_index_rotation_finished', last.number)
  }

  async #record(change: string, generation: number): Promise<void> {
    const { partition } = this.#id
    await this.#core.audit.append({
      type: 'policy_changed',
      outcome: 'done',
      partition,
      details: { change, column: this.column, generation },
    })
  }

  #of(generations: readonly Generation[], value: Uint8Array | string): Uint8Array[] {
    const { partition } = this.#id
    return generations.map(({ number, bits, secret }) => {
      const index = blindIndexOf(secret, { partition, column: this.column, generation: number, bits }, value)
      wipe(secret)
      return index
    })
  }

  #fresh(number: number, bits: number): Generation {
    return { number, bits, madeAt: this.#core.clock(), secret: this.#core.blindIndexSecret(this.#id) }
  }

  /** Read for every use, so that a rotation in another process holds here at once. */
  async #generations(): Promise<{ readonly list: readonly Generation[]; readonly revision: number }> {
    for (;;) {
      try {
        const { record, opened } = await this.#core.read(this.#id, {})
        try {
          if (!this.#core.keyring.isActive(opened.keyVersion)) this.#core.lazyReseal(record, {}, opened)
          return { list: parse(opened.plaintext), revision: record.revision }
        } finally {
          wipe(opened.plaintext)
        }
      } catch (error) {
        if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
        await this.#save([this.#fresh(1, this.#bits)], 'absent').catch((conflict: unknown) => {
          // Another process has made it meanwhile: its key is the one.
          if (!(conflict instanceof VaultError) || conflict.code !== 'VK_CONFLICT') throw conflict
        })
      }
    }
  }

  async #save(list: readonly Generation[], expected: number | 'absent'): Promise<void> {
    const bytes = utf8Encode(
      canonicalJson({
        format: FORMAT,
        generations: list.map(({ number, bits, madeAt, secret }) => ({
          number,
          bits,
          made_at: madeAt,
          secret: base64Encode(secret),
        })),
      }),
    )
    try {
      await this.#core.write({ ...this.#id, layer: 0, context: {} }, bytes, expected)
    } finally {
      wipe(bytes, ...list.map(({ secret }) => secret))
    }
  }
}

function checkBits(bits: number): void {
  if (!Number.isInteger(bits) || bits % 8 !== 0 || bits < 8 || bits > 256)
    throw new RangeError(`An index has 8 to 256 bits, a multiple of 8; got ${bits}`)
}

/** Generations of a record, the oldest first: one, or two during a rotation. @throws VaultError `VK_FORMAT`. */
function parse(bytes: Uint8Array): Generation[] {
  try {
    const json = parseStrictJson(bytes, { maxBytes: 4096 }) as JsonObject
    const list = json['format'] === FORMAT ? json['generations'] : undefined
    if (Array.isArray(list) && (list.length === 1 || list.length === 2)) return list.map(generation)
  } catch (error) {
    if (!(error instanceof PrimitivesError) && !(error instanceof RangeError)) throw error
  }
  throw malformed()
}

function generation(value: JsonValue): Generation {
  const { number, bits, made_at: madeAt, secret } = value as JsonObject
  if (typeof number !== 'number' || typeof bits !== 'number' || typeof madeAt !== 'number') throw malformed()
  checkBits(bits)
  const key = typeof secret === 'string' ? base64Decode(secret) : new Uint8Array(0)
  if (key.length !== KEY_BYTES) throw malformed()
  return { number, bits, madeAt, secret: key }
}

function malformed(): VaultError {
  return new VaultError('VK_FORMAT', 'The record is not that of a blind index')
}
