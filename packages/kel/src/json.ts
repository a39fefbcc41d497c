import { MAX_SEAL_DEPTH } from './limits.ts'
import { refusal } from './rule.ts'
import type { JsonValue } from '@keyturn/primitives'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function checkDepth(value: object, depth: number): void {
  if (depth > MAX_SEAL_DEPTH) throw refusal('KEL_PARSE', `Event is nested deeper than ${MAX_SEAL_DEPTH} levels`)
  for (const member of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) {
    if (typeof member === 'object' && member !== null) checkDepth(member, depth + 1)
  }
}

// An interaction that seals nothing but digests, in its one compact spelling: most of a long log. Whatever matches
// needs no second look at its form; the test holds this shape against the general way.
const plainInteraction =
  /^\{"v":"(KERI10JSON[0-9a-f]{6}_)","t":"ixn","d":"([\w-]{44})","i":"([\w-]{44})","s":"([0-9a-f]{1,12})","p":"([\w-]{44})","a":\[((?:\{"d":"[\w-]{0,128}"\}(?:,(?!\]))?)*)\]\}$/

function parsePlainInteraction(text: string): Record<string, JsonValue> | undefined {
  const match = plainInteraction.exec(text)
  if (match === null) return undefined
  const [, v, d, i, s, p, a] = match as unknown as [string, string, string, string, string, string, string]
  // Two seals without a comma between them match the shape but are not JSON.
  if (a.includes('}{')) return undefined
  return { v, t: 'ixn', d, i, s, p, a: a === '' ? [] : (JSON.parse(`[${a}]`) as JsonValue) }
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
    const plain = parsePlainInteraction(text)
    if (plain !== undefined) return plain
    value = JSON.parse(text)
  } catch (cause) {
    throw Object.assign(refusal('KEL_PARSE', 'Event is not JSON of the length it states', { rule: 'size' }), { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal('KEL_PARSE', 'Event is not a JSON object')
  }
  checkDepth(value, 0)
  if (text.includes('"__proto__":')) throw refusal('KEL_PARSE', 'Event has a member named "__proto__"')
  if (JSON.stringify(value) !== text)
    throw refusal('KEL_PARSE', 'Event is not compact JSON in its one canonical spelling')
  if (text.includes('\\') && /\\ud[89a-f][0-9a-f]{2}/.test(text))
    throw refusal('KEL_PARSE', 'Event holds a lone surrogate')
  return value as Record<string, JsonValue>
}
