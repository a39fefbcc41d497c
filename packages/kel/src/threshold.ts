import { quoted, refusal } from './rule.ts'

/**
 * A signing threshold as its author writes it: a number of keys, one weight per key ("1/2"), or several such clauses
 * that must all be met (each clause takes the next keys of the list).
 */
export type ThresholdInput = number | readonly string[] | readonly (readonly string[])[]

/** A parsed threshold: decides whether a set of key places is enough. */
export interface Threshold {
  /** As it is in the event, for printing and comparing. */
  readonly text: string
  /** Number of keys the threshold speaks about; undefined for a plain number. */
  readonly places: number | undefined
  /** Fewest keys that can meet it. */
  readonly fewest: number
  /** True when the keys at these places meet the threshold. Places out of range count nothing. */
  met(places: ReadonlySet<number>): boolean
}

/** What a foreign log may say that ours may not write. */
export interface ThresholdLeniency {
  readonly lenient: boolean
  warn(text: string): void
}

interface Weight {
  readonly numerator: bigint
  readonly denominator: bigint
  readonly inner: readonly Weight[] | undefined
}

const MAX_WEIGHT_TEXT = 24
const weightForm = /^(0|[1-9][0-9]*)(?:\/([1-9][0-9]*))?$/

function invalid(field: string, why: string): never {
  throw refusal('KEL_THRESHOLD', `Threshold ${field} is not valid: ${why}`)
}

function parseFraction(text: string, field: string): { numerator: bigint; denominator: bigint } {
  const match = text.length <= MAX_WEIGHT_TEXT ? weightForm.exec(text) : null
  if (match === null) invalid(field, `weight ${quoted(text)} is not a fraction such as "1/2"`)
  const numerator = BigInt(match[1] as string)
  const denominator = BigInt(match[2] ?? '1')
  if (numerator > denominator) invalid(field, `weight ${quoted(text)} is above 1`)
  return { numerator, denominator }
}

function parseWeight(value: unknown, field: string): Weight {
  if (typeof value === 'string') return { ...parseFraction(value, field), inner: undefined }
  const entries = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
  const [entry] = entries
  if (entries.length !== 1 || entry === undefined || !Array.isArray(entry[1])) {
    invalid(field, 'a weight is neither a fraction nor one outer weight with its inner list')
  }
  const inner = (entry[1] as unknown[]).map((weight) => ({
    ...parseFraction(expectText(weight, field), field),
    inner: undefined,
  }))
  if (!reachesOne(inner)) invalid(field, 'the inner weights add up to less than 1')
  return { ...parseFraction(entry[0], field), inner }
}

function expectText(value: unknown, field: string): string {
  if (typeof value !== 'string') invalid(field, 'a weight is not text')
  return value
}

function reachesOne(weights: readonly Weight[]): boolean {
  let numerator = 0n
  let denominator = 1n
  for (const weight of weights) {
    numerator = numerator * weight.denominator + weight.numerator * denominator
    denominator *= weight.denominator
  }
  return numerator >= denominator && weights.length > 0
}

/** Number of key places one weight takes: its inner list, or one. */
function width(weight: Weight): number {
  return weight.inner?.length ?? 1
}

class WeightedThreshold implements Threshold {
  readonly text: string
  readonly places: number
  readonly #clauses: readonly (readonly Weight[])[]

  constructor(text: string, clauses: readonly (readonly Weight[])[]) {
    this.text = text
    this.#clauses = clauses
    this.places = clauses.flat().reduce((sum, weight) => sum + width(weight), 0)
  }

  get fewest(): number {
    return this.#clauses.length
  }

  met(places: ReadonlySet<number>): boolean {
    let place = 0
    let all = true
    for (const clause of this.#clauses) {
      const counted: Weight[] = []
      for (const weight of clause) {
        const own = Array.from({ length: width(weight) }, (_, i) => place + i)
        place += own.length
        const inner = weight.inner
        const counts =
          inner === undefined
            ? places.has(own[0] as number)
            : reachesOne(inner.filter((_, i) => places.has(own[i] as number)))
        if (counts) counted.push(weight)
      }
      all &&= reachesOne(counted)
    }
    return all
  }
}

class CountThreshold implements Threshold {
  readonly text: string
  readonly places = undefined
  readonly fewest: number

  constructor(count: number) {
    this.text = count.toString(16)
    this.fewest = count
  }

  met(places: ReadonlySet<number>): boolean {
    return places.size >= this.fewest
  }
}

function parseCount(value: string | number, field: string, leniency: ThresholdLeniency): number {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) invalid(field, `${value} is not a whole number of keys`)
    return value
  }
  if (!/^[0-9a-f]{1,8}$/.test(value)) invalid(field, `${quoted(value)} is not a lower-case hexadecimal number`)
  if (value.length > 1 && value.startsWith('0')) {
    if (!leniency.lenient) invalid(field, `${quoted(value)} has a leading zero`)
    leniency.warn(`threshold ${field} ${quoted(value)} has a leading zero`)
  }
  return Number.parseInt(value, 16)
}

function checkCount(count: number, keyCount: number, field: string, leniency: ThresholdLeniency): Threshold {
  const none = field === 'nt' && keyCount === 0
  if (count > keyCount) invalid(field, `${count} of ${keyCount} keys can never sign`)
  if (count === 0 && !none) {
    if (!leniency.lenient) invalid(field, '0 would let nobody or anybody sign')
    leniency.warn(`threshold ${field} is 0`)
  }
  return new CountThreshold(count)
}

/**
 * Parses a threshold of an event (`kt`, `nt`).
 *
 * @param value - As it is in the JSON.
 * @param keyCount - Number of keys or digests it speaks about.
 * @param field - Name for messages.
 * @throws {@link KelError} `KEL_THRESHOLD`.
 */
export function parseThreshold(
  value: unknown,
  keyCount: number,
  field: string,
  leniency: ThresholdLeniency,
): Threshold {
  if (typeof value === 'string' || typeof value === 'number') {
    return checkCount(parseCount(value, field, leniency), keyCount, field, leniency)
  }
  if (!Array.isArray(value) || value.length === 0) invalid(field, 'it is neither a number nor a list of weights')
  const clauses = (value.every((item) => Array.isArray(item)) ? value : [value]) as unknown[][]
  const parsed = clauses.map((clause) => clause.map((weight) => parseWeight(weight, field)))
  if (!parsed.every(reachesOne)) invalid(field, 'the weights of a clause add up to less than 1')
  const threshold = new WeightedThreshold(JSON.stringify(value), parsed)
  if (threshold.places !== keyCount) invalid(field, `${threshold.places} weights for ${keyCount} keys`)
  return threshold
}

/** The JSON form of a threshold that an author gives: numbers become lower-case hexadecimal text. */
export function thresholdJson(input: ThresholdInput): string | readonly string[] | readonly (readonly string[])[] {
  return typeof input === 'number' ? input.toString(16) : input
}

/** A threshold in words: `2`, `1/2 + 1/2 + 1/4`. */
export function describeThreshold(threshold: Threshold): string {
  return threshold.places === undefined ? String(threshold.fewest) : `weights ${threshold.text}`
}

/** True when a parsed threshold can only be met by nobody: the mark of an abandoned identity. */
export const noThresholdLeniency: ThresholdLeniency = { lenient: false, warn: () => undefined }
