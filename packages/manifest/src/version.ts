import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { checkPath } from './paths.ts'

const NUMBERED = /^([0-9]{4})\.([0-9]{2})\.([0-9]{2})-([1-9][0-9]{0,8})$/
const NAME = /^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$/
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
 * @returns Negative, zero or positive; undefined when they cannot be compared: other forms, or two different tags of
 *   one day.
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
 * @param taken - The last version of the channel, or every version that is taken: the number is free among all of them.
 */
export function nextVersion(timeMs: number, taken: string | readonly string[] = []): string {
  const day = new Date(timeMs).toISOString().slice(0, 10).replaceAll('-', '.')
  const counts = (typeof taken === 'string' ? [taken] : taken)
    .map(parseVersion)
    .map((version) => (version?.day === day ? (version.count ?? 0) : 0))
  return `${day}-${counts.reduce((highest, count) => Math.max(highest, count), 0) + 1}`
}

/**
 * Checks a version that a manifest of schema 1 gets: its readers order releases by it.
 *
 * @throws {@link ManifestError} `MAN_VERSION`.
 */
export function checkDatedVersion(version: string, allowTag = false): void {
  const parsed = parseVersion(version)
  if (parsed !== undefined && (parsed.count !== undefined || allowTag)) return
  throw new ManifestError('MAN_VERSION', `Cannot use version "${printable(version, 80)}": expected YYYY.MM.DD-N`, {
    hint: parsed === undefined ? undefined : 'Allow tags explicitly to use this one',
  })
}

/**
 * Checks a version that a manifest of schema 2 gets: any name of 1 to 64 letters, digits and `. + _ -`. It becomes a
 * file name and part of an address, so what a file system changes, or what is the address of another document, is
 * refused.
 *
 * @throws {@link ManifestError} `MAN_VERSION`.
 */
export function checkVersionName(version: string): void {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new ManifestError('MAN_VERSION', `Cannot use version "${printable(version, 80)}": ${reason}`, { cause })
  }
  if (!NAME.test(version))
    refuse('expected 1 to 64 of the characters A-Z, a-z, 0-9, ".", "+", "_" and "-", the first a letter or digit')
  // <version>.sigs.json holds the signatures of <version>.
  if (/\.sigs$/i.test(version)) refuse('".sigs" at the end is the name of another document')
  try {
    checkPath(version)
  } catch (cause) {
    refuse('Windows cannot store a file of that name', cause)
  }
}
