// Doors of functions: a wrong argument is named where it comes in, not by whatever it meets further inside.

/** Refuses what is not bytes. @throws TypeError that names the argument. */
export function requireBytes(value: unknown, name: string): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${name} must be a Uint8Array`)
}

/** Refuses what is not text. @throws TypeError that names the argument. */
export function requireText(value: unknown, name: string): asserts value is string {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string`)
}

/** Refuses what is not an array. @throws TypeError that names the argument. */
export function requireList(value: unknown, name: string): asserts value is readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} must be an array`)
}

/** Refuses what cannot be walked through. @throws TypeError that names the argument. */
export function requireIterable(value: unknown, name: string): asserts value is Iterable<unknown> {
  if (typeof (value as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] !== 'function')
    throw new TypeError(`${name} must be iterable`)
}

/**
 * Refuses what is not an object with these members.
 *
 * @param value - What was given.
 * @param name - What the caller knows it by.
 * @param members - Names of members that it must have, whatever they hold.
 * @throws TypeError that names the argument: `source must have size and read`.
 */
export function requireMembers(value: unknown, name: string, members: readonly string[]): asserts value is object {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  if (isObject && members.every((member) => (value as Readonly<Record<string, unknown>>)[member] !== undefined)) return
  if (members.length === 0) throw new TypeError(`${name} must be an object`)
  throw new TypeError(`${name} must have ${members.join(', ').replace(/, ([^,]+)$/, ' and $1')}`)
}
