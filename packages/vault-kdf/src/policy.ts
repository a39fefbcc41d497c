import { PrimitivesError, parseStrictJson, printable } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import type { KeyringEntry } from './keyring-document.ts'
import { checkId } from './place.ts'

/** When a master is rotated, and who may do what cannot be undone: docs/spec/vault-kdf.md §14. */
export interface VaultPolicy {
  readonly rotate: {
    /** The active master is due when it has been active for this long. */
    readonly maxAgeMs?: number | undefined
    /** The active master is due when this many records are sealed under it. */
    readonly maxRecords?: number | undefined
  }
  readonly destroy: {
    /** No version is destroyed before it has been in quarantine for this long. */
    readonly minQuarantineMs: number
    /** Actors (`audit.actor`) who may destroy with records left, or before the quarantine is over. */
    readonly mayForce: readonly string[]
    /** Actors who may erase a partition. */
    readonly mayErase: readonly string[]
  }
}

/** Whether the active master is due. */
export interface RotationDue {
  readonly due: boolean
  /** Which rules say so, with what was found. */
  readonly reasons: readonly {
    readonly rule: 'max_age' | 'max_records'
    readonly limit: number
    readonly found: number
  }[]
  /** When it will be due by its age, in milliseconds since 1970; absent without such a rule or an active version. */
  readonly dueAt?: number
}

const FORMAT = 'keyturn-vault-policy-1'
/** Largest policy file a reader takes. */
export const MAX_POLICY_BYTES = 64 * 1024
const MAX_DAYS = 36_500
const MAX_ACTORS = 1_000
const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Parses a policy file: strict JSON, of which every member is known, so that a typing error never widens a rule.
 *
 * @throws VaultError `VK_POLICY_FORM`; `details.field` names what is wrong.
 */
export function parseVaultPolicy(bytes: Uint8Array): VaultPolicy {
  const file = members(parse(bytes), '', ['format', 'rotate', 'destroy'])
  if (file['format'] !== FORMAT) throw wrong('format', `must be "${FORMAT}"`)
  const rotate = members(file['rotate'], 'rotate', ['max_age_days', 'max_records'])
  const destroy = members(file['destroy'], 'destroy', ['min_quarantine_days', 'may_force', 'may_erase'])
  const { max_age_days: age, max_records: records } = rotate
  if (age === undefined && records === undefined) throw wrong('rotate', 'must have max_age_days, max_records or both')
  return {
    rotate: {
      ...(age === undefined ? {} : { maxAgeMs: whole(age, 'rotate.max_age_days', 1, MAX_DAYS) * DAY_MS }),
      ...(records === undefined
        ? {}
        : { maxRecords: whole(records, 'rotate.max_records', 1, Number.MAX_SAFE_INTEGER) }),
    },
    destroy: {
      minQuarantineMs: whole(destroy['min_quarantine_days'], 'destroy.min_quarantine_days', 0, MAX_DAYS) * DAY_MS,
      mayForce: actors(destroy['may_force'], 'destroy.may_force'),
      mayErase: actors(destroy['may_erase'], 'destroy.may_erase'),
    },
  }
}

/** Compares the active version with the rules. @param records - Sealed under it. */
export function rotationDue(
  policy: VaultPolicy,
  active: KeyringEntry | undefined,
  records: number,
  now: number,
): RotationDue {
  if (active === undefined) return { due: false, reasons: [] } // suspended or compromised: for a person to settle
  const { maxAgeMs, maxRecords } = policy.rotate
  const since = active.history.findLast(({ state }) => state === 'active')?.at ?? now
  const reasons: RotationDue['reasons'] = [
    ...(maxAgeMs !== undefined && now - since >= maxAgeMs
      ? [{ rule: 'max_age' as const, limit: maxAgeMs, found: now - since }]
      : []),
    ...(maxRecords !== undefined && records >= maxRecords
      ? [{ rule: 'max_records' as const, limit: maxRecords, found: records }]
      : []),
  ]
  return { due: reasons.length > 0, reasons, ...(maxAgeMs === undefined ? {} : { dueAt: since + maxAgeMs }) }
}

/**
 * Refuses an actor whom the policy does not name.
 *
 * @throws VaultError `VK_POLICY`.
 */
export function checkActor(allowed: readonly string[], actor: string, act: string): void {
  if (allowed.includes(actor)) return
  throw new VaultError('VK_POLICY', `The policy of this vault does not let "${printable(actor)}" ${act}`, {
    details: { actor, allowed: allowed.join(', ') },
  })
}

/** How long a version is in quarantine under a policy. @throws VaultError `VK_POLICY` for less than its floor. */
export function quarantineUnder(policy: VaultPolicy, asked: number | undefined, usual: number): number {
  const { minQuarantineMs } = policy.destroy
  if (asked === undefined) return Math.max(usual, minQuarantineMs)
  if (asked >= minQuarantineMs) return asked
  throw new VaultError(
    'VK_POLICY',
    `The policy of this vault wants ${minQuarantineMs} ms of quarantine, got ${asked}`,
    {
      details: { limit: minQuarantineMs, found: asked },
    },
  )
}

function parse(bytes: Uint8Array): JsonValue {
  try {
    return parseStrictJson(bytes, { maxBytes: MAX_POLICY_BYTES })
  } catch (cause) {
    if (!(cause instanceof PrimitivesError)) throw cause
    throw new VaultError('VK_POLICY_FORM', 'Cannot read the policy of the vault: it is not strict JSON', { cause })
  }
}

function wrong(field: string, problem: string): VaultError {
  return new VaultError('VK_POLICY_FORM', `Cannot read the policy of the vault: ${field} ${problem}`, {
    details: { field },
  })
}

function members(value: JsonValue | undefined, place: string, known: readonly string[]): JsonObject {
  const field = place === '' ? 'the file' : place
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(field, 'must be an object')
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined) throw wrong(printable(`${place}${place === '' ? '' : '.'}${unknown}`), 'is not known')
  return value
}

function whole(value: JsonValue | undefined, field: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw wrong(field, `must be a whole number from ${min} to ${max}`)
  return value
}

function actors(value: JsonValue | undefined, field: string): readonly string[] {
  if (!Array.isArray(value) || value.length > MAX_ACTORS) throw wrong(field, 'must be a list; an empty one is nobody')
  const names = value.map((name) => {
    if (typeof name !== 'string') throw wrong(field, 'must hold names')
    try {
      checkId(name, field)
    } catch (cause) {
      throw new VaultError('VK_POLICY_FORM', `Cannot read the policy of the vault: a name in ${field} is not an id`, {
        details: { field },
        cause,
      })
    }
    return name
  })
  if (new Set(names).size !== names.length) throw wrong(field, 'names somebody twice')
  return names
}
