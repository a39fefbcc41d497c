import type { JsonObject } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'

/**
 * A text member of a report.
 *
 * @param pattern - The whole text must match it.
 * @param preset - Taken where the member is missing.
 * @throws ServerError `SRV_REQUEST`.
 */
export function reportMember(body: JsonObject, name: string, pattern: RegExp, preset: string): string {
  const value = body[name] ?? preset
  if (typeof value !== 'string' || !pattern.test(value))
    throw new ServerError('SRV_REQUEST', `Cannot count the report: ${name} is malformed`)
  return value
}
