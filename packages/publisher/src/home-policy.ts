import { isRecord } from '@keyturn/primitives'

/** What becomes due with time. */
export type DueKind =
  | 'identity'
  | 'release'
  | 'head'
  | 'content'
  | 'archiveSigning'
  | 'transport'
  | 'transportIdentity'
  | 'vault'

/** Days a key may be in force before it is due, unless the home's policy says otherwise. */
export const defaultPolicyDays: Readonly<Record<DueKind, number>> = {
  identity: 365,
  release: 180,
  head: 90,
  content: 180,
  archiveSigning: 365,
  transport: 90,
  transportIdentity: 730,
  vault: 365,
}

/** Ten years. */
const MAX_DAYS = 3650
/** A transport key is announced a day before it is used, and its record lives 366 days at most. */
const TRANSPORT_DAYS = { least: 2, most: 365 }

const isKind = (name: string): name is DueKind => Object.hasOwn(defaultPolicyDays, name)

/**
 * What is wrong with the `policy` of a home, in words; undefined when nothing is.
 *
 * @param policy - The member of `home.json`; days by kind, 0 for a key that is always due.
 */
export function policyProblem(policy: unknown): string | undefined {
  if (policy === undefined) return undefined
  if (!isRecord(policy)) return '"policy" is not an object'
  for (const [name, days] of Object.entries(policy)) {
    if (!isKind(name)) return `"policy.${name}" is not the name of a key: ${Object.keys(defaultPolicyDays).join(', ')}`
    const { least, most } = name === 'transport' ? TRANSPORT_DAYS : { least: 0, most: MAX_DAYS }
    if (!Number.isSafeInteger(days) || (days as number) < least || (days as number) > most)
      return `"policy.${name}" is ${String(days)}, expected whole days from ${least} to ${most}`
  }
  return undefined
}
