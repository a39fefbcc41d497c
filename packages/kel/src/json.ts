import { MAX_SEAL_DEPTH } from './limits.ts'
import { refusal } from './rule.ts'
import type { JsonValue } from '@keyturn/primitives'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function checkDepth(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth > MAX_SEAL_DEPTH) throw refusal('KEL_PARSE', `Event is nested deeper than ${MAX_SEAL_DEPTH} levels`)
  for (const [key, member] of Object.entries(value)) {
    if (key === '__proto__') throw refusal('KEL_PARSE', 'Event has a member named "__proto__"')
    checkDepth(member, depth + 1)
  }
}

/**
 * Parses the body of an event and insists on the one form in which KERI hashes it: compact JSON, each member once, text
 * and numbers spelled as every serialiser spells them. Printing the value again must give the very same bytes, which
 * excludes white space, duplicate members, escapes that are not needed and numbers that do not survive.
 *
 * @throws {@link KelError} `KEL_PARSE`.
 */
export function parseCompactJson(body: Uint8Array): Record<string, JsonValue> {
  let text: string
  let value: unknown
  try {
    text = utf8.decode(body)
    value = JSON.parse(text)
  } catch (cause) {
    throw Object.assign(refusal('KEL_PARSE', 'Event is not JSON of the length it states', { rule: 'size' }), { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal('KEL_PARSE', 'Event is not a JSON object')
  }
  checkDepth(value, 0)
  if (JSON.stringify(value) !== text) throw refusal('KEL_PARSE', 'Event is not compact JSON in its one canonical spelling')
  if (text.includes('\\') && /\\ud[89a-f][0-9a-f]{2}/.test(text)) throw refusal('KEL_PARSE', 'Event holds a lone surrogate')
  return value as Record<string, JsonValue>
}
