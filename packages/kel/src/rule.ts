import { printable } from '@keyturn/primitives'
import { KelError } from './errors.ts'
import type { KelErrorCode } from './errors.ts'

/** The rule of validation that an event broke, in the words of `keyturn id check`. */
export type Rule =
  | 'form'
  | 'size'
  | 'version'
  | 'said'
  | 'prior'
  | 'order'
  | 'signature'
  | 'index'
  | 'unsigned'
  | 'threshold'
  | 'duplicate-keys'
  | 'key'
  | 'witness'
  | 'traits'
  | 'abandoned'
  | 'delegation'
  | 'commitment'
  | 'escrow-full'
  | 'limit'
  | 'rollback'
  | 'misfit'
  | 'pin'

const ruleOfCode: Partial<Record<KelErrorCode, Rule>> = {
  KEL_ABANDONED: 'abandoned',
  KEL_DELEGATION: 'delegation',
  KEL_ESCROW_FULL: 'escrow-full',
  KEL_KEY: 'key',
  KEL_KEY_REUSED: 'commitment',
  KEL_LIMIT: 'limit',
  KEL_MISFIT: 'misfit',
  KEL_NEXT_COMMITMENT: 'commitment',
  KEL_PIN_MISMATCH: 'pin',
  KEL_PREV: 'prior',
  KEL_ROLLBACK: 'rollback',
  KEL_SAID: 'said',
  KEL_SEQ: 'order',
  KEL_SIGNATURE: 'signature',
  KEL_THRESHOLD: 'threshold',
  KEL_TRAIT: 'traits',
  KEL_UNSIGNED: 'unsigned',
  KEL_VERSION: 'version',
  KEL_WITNESS: 'witness',
}

/**
 * Makes the error of a refused event, with its rule in `details.rule`.
 *
 * @param code - Stable code.
 * @param message - For people.
 * @param details - Numbers and texts for machines; `rule` overrides the rule that belongs to the code.
 */
export function refusal(code: KelErrorCode, message: string, details: Record<string, string | number> = {}): KelError {
  return new KelError(code, message, { details: { rule: ruleOfCode[code] ?? 'form', ...details } })
}

/** The rule that an error of this package names. */
export function ruleOf(error: KelError): Rule {
  return (error.details['rule'] as Rule | undefined) ?? ruleOfCode[error.code] ?? 'form'
}

/** Text from outside, cut and stripped, in double quotes. */
export function quoted(text: string): string {
  return `"${printable(text.length > 64 ? `${text.slice(0, 64)}…` : text)}"`
}
