import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'

const NUMBERED = /^([0-9]{4})\.([0-9]{2})\.([0-9]{2})-([1-9][0-9]{0,8})$/
const TAGGED = /^([0-9]{4})\.([0-9]{2})\.([0-9]{2})-([a-z0-9.-]{1,64})$/

/** A release version, taken apart. */
export interface ReleaseVersion {
  /** `YYYY.MM.DD`. */
  readonly day: string
  /** Counts from 1 each day; undefined when the version carries a tag. */
  readonly count: number | undefined
  /** What follows the day. */
  readonly suffix: string
}

/** Takes a version apart, or gives undefined for text that is neither `YYYY.MM.DD-N` nor `YYYY.MM.DD-tag`. */
export function parseVersion(text: string): ReleaseVersion | undefined {
  const numbered = NUMBERED.exec(text)
  if (numbered !== null) return { day: text.slice(0, 10), count: Number(numbered[4]), suffix: text.slice(11) }
  return TAGGED.test(text) ? { day: text.slice(0, 10), count: undefined, suffix: text.slice(11) } : undefined
}

/**
 * Orders two versions: by day, then by number (10 after 9), tags after numbers.
 *
 * @returns Negative, zero or positive; undefined when they cannot be compared: other forms, or two different tags of one day.
 */
export function compareVersions(left: string, right: string): number | undefined {
  if (left === right) return 0
  const [a, b] = [parseVersion(left), parseVersion(right)]
  if (a === undefined || b === undefined) return undefined
  if (a.day !== b.day) return a.day < b.day ? -1 : 1
  if (a.count !== undefined && b.count !== undefined) return a.count - b.count
  if (a.count === undefined && b.count === undefined) return undefined
  return a.count === undefined ? 1 : -1
}

/**
 * The version that follows: today with the next free number.
 *
 * @param timeMs - Now.
 * @param previous - The last version of the channel, if there is one.
 */
export function nextVersion(timeMs: number, previous?: string): string {
  const day = new Date(timeMs).toISOString().slice(0, 10).replaceAll('-', '.')
  const before = previous === undefined ? undefined : parseVersion(previous)
  return `${day}-${before?.day === day ? (before.count ?? 0) + 1 : 1}`
}

/**
 * Holds a version to what a writer may use.
 *
 * @throws {@link ManifestError} `MAN_VERSION`.
 */
export function assertWritableVersion(version: string, allowTag = false): void {
  const parsed = parseVersion(version)
  if (parsed !== undefined && (parsed.count !== undefined || allowTag)) return
  throw new ManifestError('MAN_VERSION', `Cannot use version "${printable(version, 80)}": YYYY.MM.DD-N is due`, {
    hint: parsed === undefined ? undefined : 'Allow tags explicitly to use this one',
  })
}
