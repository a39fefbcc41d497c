import type { JsonObject, JsonValue } from './json.ts'

/**
 * Whether a value is an object with named members: neither `null` nor an array.
 *
 * @param value - Anything, the output of `JSON.parse` included.
 */
export function isRecord(value: JsonValue | undefined): value is JsonObject
export function isRecord(value: unknown): value is Record<string, unknown>
export function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
