import { requireMembers, requireText } from '@keyturn/primitives'
import { parseMatter } from './cesr/matter.ts'
import { KelError } from './errors.ts'
import type { Place } from './key-state.ts'
import { quoted } from './rule.ts'

/** What a verifier knows beforehand: an identity and, normally, a place that its log must contain. */
export interface Pin {
  readonly prefix: string
  /** Undefined for a bare prefix: then any log of that identity will do, which is worth a warning. */
  readonly place: Place | undefined
}

const form = /^did:keri:([A-Za-z0-9_-]{44})(?:\?sn=(0|[1-9][0-9]{0,15})&said=([A-Za-z0-9_-]{44}))?$/

/**
 * Parses a pin: `did:keri:<prefix>?sn=<decimal>&said=<SAID>`, or the same without a place.
 *
 * @throws {@link KelError} `KEL_PIN`.
 */
export function parsePin(text: string): Pin {
  requireText(text, 'text')
  const match = form.exec(text)
  const refuse = (cause?: unknown): KelError =>
    new KelError('KEL_PIN', `Pin ${quoted(text)} is not did:keri:<prefix>?sn=<number>&said=<SAID>`, { cause })
  if (match === null) throw refuse()
  const [, prefix, sn, said] = match as unknown as [string, string, string | undefined, string | undefined]
  try {
    parseMatter(prefix, 'prefix', new Set(['B', 'D', 'E']))
    if (said !== undefined) parseMatter(said, 'said', new Set(['E']))
  } catch (cause) {
    throw refuse(cause)
  }
  if (sn === undefined || said === undefined) return { prefix, place: undefined }
  if (!Number.isSafeInteger(Number(sn))) throw refuse()
  return { prefix, place: { sn: Number(sn), said } }
}

/** Writes a pin; {@link parsePin} reads it back. */
export function formatPin(pin: Pin): string {
  requireMembers(pin, 'pin', ['prefix'])
  const { prefix, place } = pin
  const bare = `did:keri:${prefix}`
  return place === undefined ? bare : `${bare}?sn=${place.sn}&said=${place.said}`
}
