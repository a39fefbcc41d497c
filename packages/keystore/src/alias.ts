import { printable } from '@keyturn/primitives'
import { KeystoreError } from './errors.ts'

const ALIAS = /^[a-zA-Z0-9@][a-zA-Z0-9._/:@-]{0,127}$/

/**
 * Checks an alias: 1 to 128 of the characters a-z, A-Z, 0-9, `.`, `-`, `_`, `/`, `:`, `@`, the first a letter, a digit
 * or `@`.
 *
 * @throws KeystoreError `KEY_ALIAS`.
 */
export function checkAlias(alias: string): void {
  if (ALIAS.test(alias)) return
  throw new KeystoreError(
    'KEY_ALIAS',
    `Alias "${printable(alias)}" is not 1 to 128 of the characters a-z A-Z 0-9 . - _ / : @`,
    { hint: 'Begin with a letter, a digit or @, and use no spaces: "@scope/name", "user@host", "ci/deploy-token"' },
  )
}

/**
 * Alias of a key prepared for the rotation that makes sequence number `sequence`: `<alias>--next-<sequence>`.
 *
 * @example `nextAlias('release', 3)` is `'release--next-3'`
 */
export function nextAlias(alias: string, sequence: number): string {
  if (!Number.isInteger(sequence) || sequence < 0) throw new RangeError(`Sequence ${sequence} is not a whole number`)
  return `${alias}--next-${sequence}`
}

/** Takes `<alias>--next-<sequence>` apart; `undefined` for any other alias. */
export function parseNextAlias(text: string): { alias: string; sequence: number } | undefined {
  const match = /^(.+)--next-(0|[1-9]\d{0,14})$/.exec(text)
  return match?.[1] === undefined ? undefined : { alias: match[1], sequence: Number(match[2]) }
}
