import { isRecord } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'

/**
 * Reads a JSON value as a type, or throws {@link ShapeError}. `place` is where the value is: `head.sequence`, empty for
 * the value itself.
 */
export type Shape<T> = (value: JsonValue | undefined, place: string) => T

/** A value that does not have its shape. The reader of the document turns it into an error with a code. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'

  /** @param expected - What belongs there: "a whole number". */
  constructor(place: string, expected: string) {
    super(`${place === '' ? 'the value' : `"${place}"`} is not ${expected}`)
  }
}

function expecting<T extends JsonValue>(expected: string, fits: (value: JsonValue) => value is T): Shape<T> {
  return (value, place) => {
    if (value === undefined || !fits(value)) throw new ShapeError(place, expected)
    return value
  }
}

/** Any text. */
export const text = expecting('text', (value) => typeof value === 'string')
/** True or false. */
export const flag = expecting('true or false', (value) => typeof value === 'boolean')
/** A whole number from 0 that a double holds exactly. */
export const whole = expecting(
  'a whole number',
  (value): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0,
)
/** Any finite number: durations, times before 1970. */
export const numeric = expecting(
  'a number',
  (value): value is number => typeof value === 'number' && Number.isFinite(value),
)

/** One of a few texts. */
export function oneOf<T extends string>(...texts: readonly T[]): Shape<T> {
  return expecting(texts.map((each) => `"${each}"`).join(' or '), (value): value is T =>
    texts.some((each) => each === value),
  )
}

/** A value or null. */
export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, place) => (value === null ? null : shape(value, place))
}

/** A member that may be absent. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value, place) => (value === undefined ? undefined : shape(value, place))
}

/** A member that records of earlier versions lack. */
export function preset<T>(shape: Shape<T>, absent: T): Shape<T> {
  return (value, place) => (value === undefined ? absent : shape(value, place))
}

/** A list. */
export function listOf<T>(shape: Shape<T>): Shape<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw new ShapeError(place, 'a list')
    return value.map((item: JsonValue, at) => shape(item, `${place}[${at}]`))
  }
}

function below(place: string, name: string): string {
  return place === '' ? name : `${place}.${name}`
}

/** Members of any name, all of one shape. */
export function mapOf<T>(shape: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, place) => {
    if (!isRecord(value)) throw new ShapeError(place, 'an object')
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, shape(item as JsonValue, below(place, name))]),
    )
  }
}

/** The shapes of all members of a type. */
export type Members<T> = { readonly [K in keyof T]-?: Shape<T[K]> }

/** An object with these members. Others are dropped, so that records of later versions can be read. */
export function object<T extends object>(members: Members<T>): Shape<T> {
  const shapes = Object.entries(members) as [string, Shape<unknown>][]
  return (value, place) => {
    if (!isRecord(value)) throw new ShapeError(place, 'an object')
    const read: Record<string, unknown> = {}
    for (const [name, shape] of shapes) {
      const member = shape(Object.hasOwn(value, name) ? (value[name] as JsonValue) : undefined, below(place, name))
      if (member !== undefined) read[name] = member
    }
    return read as T
  }
}

/**
 * An object with these members and no others: for what people write, where a typing error must not pass as a default.
 */
export function exactly<T extends object>(members: Members<T>): Shape<T> {
  const read = object(members)
  return (value, place) => {
    const unknown = isRecord(value) ? Object.keys(value).find((name) => !Object.hasOwn(members, name)) : undefined
    if (unknown !== undefined)
      throw new ShapeError(below(place, unknown), `a known member (known: ${Object.keys(members).join(', ')})`)
    return read(value, place)
  }
}
