import { isStrongEd25519PublicKey } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { digestCodes, ed25519KeyCodes, matterSizes } from './cesr/codes.ts'
import { checkShortMatter, parseMatter } from './cesr/matter.ts'
import { parseCompactJson } from './json.ts'
import { MAX_KEYS, MAX_SEALS } from './limits.ts'
import { quoted, refusal } from './rule.ts'
import { checkSaid } from './said.ts'
import { parseThreshold } from './threshold.ts'
import type { Threshold } from './threshold.ts'
import { requireSupportedVersion } from './version-string.ts'
import type { VersionString } from './version-string.ts'

/** Types of events that make up a log. */
export type EventType = 'icp' | 'rot' | 'ixn' | 'dip' | 'drt'

/** Field order of each message type; any other order, a missing or an extra field is refused (docs/spec/kel.md §3). */
const fieldsOf: Readonly<Record<string, string>> = {
  icp: 'v t d i s kt k nt n bt b c a',
  rot: 'v t d i s p kt k nt n bt br ba a',
  ixn: 'v t d i s p a',
  dip: 'v t d i s kt k nt n bt b c a di',
  drt: 'v t d i s p kt k nt n bt br ba a',
  rct: 'v t d i s',
}

const namesOf: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Object.entries(fieldsOf).map(([type, names]) => [type, names.split(' ')]),
)

interface Common {
  readonly said: string
  readonly prefix: string
  readonly sn: number
  /** The exact bytes that are signed and hashed. */
  readonly raw: Uint8Array
  /** What a strict reader would have refused and `lenient: 'keripy'` let pass, and what deserves a look. */
  readonly warnings: readonly string[]
}

/** The part that inceptions and rotations share: who signs now, and who may rotate next. */
export interface Establishment {
  readonly keys: readonly string[]
  readonly publicKeys: readonly Uint8Array[]
  readonly threshold: Threshold
  readonly nextDigests: readonly string[]
  readonly nextThreshold: Threshold
  readonly witnessThreshold: number
}

/** An inception (`icp`) or delegated inception (`dip`). */
export interface InceptionEvent extends Common, Establishment {
  readonly type: 'icp' | 'dip'
  readonly prior: undefined
  readonly witnesses: readonly string[]
  readonly traits: readonly string[]
  readonly seals: readonly JsonValue[]
  readonly delegator: string | undefined
}

/** A rotation (`rot`) or delegated rotation (`drt`). */
export interface RotationEvent extends Common, Establishment {
  readonly type: 'rot' | 'drt'
  readonly prior: string
  readonly cuts: readonly string[]
  readonly adds: readonly string[]
  readonly seals: readonly JsonValue[]
}

/** An interaction: seals something, changes no key. */
export interface InteractionEvent extends Common {
  readonly type: 'ixn'
  readonly prior: string
  readonly seals: readonly JsonValue[]
}

/** A receipt: names the event whose bytes its attached signatures cover. */
export interface ReceiptEvent extends Common {
  readonly type: 'rct'
}

/** Any event of a log. */
export type KeyEvent = InceptionEvent | RotationEvent | InteractionEvent

/** Narrows to inceptions. */
export function isInception(event: KeyEvent): event is InceptionEvent {
  return event.type === 'icp' || event.type === 'dip'
}

/** Narrows to rotations. */
export function isRotation(event: KeyEvent): event is RotationEvent {
  return event.type === 'rot' || event.type === 'drt'
}

/** Options of the readers. */
export interface ParseOptions {
  /**
   * `'keripy'` lets pass what keripy lets pass (sequence numbers with leading zeros or upper-case digits, one key twice
   * in a list, threshold 0) and reports it in `warnings`. Default: strict.
   */
  readonly lenient?: 'keripy' | undefined
}

interface Context {
  readonly lenient: boolean
  readonly warnings: string[]
  warn(text: string): void
}

const knownTraits = new Set(['EO', 'DND', 'NB', 'NRB', 'RB', 'DID'])
const prefixCodes = new Set(['B', 'D', 'E'])
const witnessCodes = new Set(['B'])
const saidCodes = new Set(['E'])

function text(fields: Record<string, JsonValue>, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw refusal('KEL_SCHEMA', `Field ${name} is not text`)
  return value
}

function list(fields: Record<string, JsonValue>, name: string, max: number): readonly JsonValue[] {
  const value = fields[name]
  if (!Array.isArray(value)) throw refusal('KEL_SCHEMA', `Field ${name} is not a list`)
  if (value.length > max) throw refusal('KEL_LIMIT', `Field ${name} has ${value.length} entries, limit ${max}`)
  return value
}

function textList(fields: Record<string, JsonValue>, name: string): readonly string[] {
  const values = list(fields, name, MAX_KEYS)
  if (!values.every((value) => typeof value === 'string'))
    throw refusal('KEL_SCHEMA', `Field ${name} holds something else than text`)
  return values as readonly string[]
}

function unique(values: readonly string[], name: string): void {
  if (new Set(values).size !== values.length) throw refusal('KEL_WITNESS', `Field ${name} names a witness twice`)
}

function parseSequence(value: string, context: Context): number {
  if (!/^(0|[1-9a-f][0-9a-f]{0,31})$/.test(value)) {
    if (!/^[0-9a-fA-F]{1,32}$/.test(value))
      throw refusal('KEL_SEQ', `Sequence number ${quoted(value)} is not hexadecimal`, { rule: 'form' })
    if (!context.lenient)
      throw refusal('KEL_SEQ', `Sequence number ${quoted(value)} has a leading zero or upper-case digits`, {
        rule: 'form',
      })
    context.warn(`sequence number ${quoted(value)} has a leading zero or upper-case digits`)
  }
  const sn = Number.parseInt(value, 16)
  if (!Number.isSafeInteger(sn))
    throw refusal('KEL_SEQ', `Sequence number ${quoted(value)} is out of range`, { rule: 'form' })
  return sn
}

function parseKeys(
  fields: Record<string, JsonValue>,
  context: Context,
): { keys: readonly string[]; publicKeys: Uint8Array[] } {
  const keys = textList(fields, 'k')
  if (keys.length === 0) throw refusal('KEL_SCHEMA', 'Field k names no key')
  const publicKeys = keys.map((key) => {
    const { code, raw } = parseMatter(key, 'k')
    if (!ed25519KeyCodes.has(code)) throw refusal('KEL_KEY', `Key of code ${code} is not an Ed25519 key`)
    if (!isStrongEd25519PublicKey(raw)) throw refusal('KEL_KEY', `Key ${quoted(key)} is of low order or not canonical`)
    return raw
  })
  if (new Set(keys.map((key) => key.slice(1))).size !== keys.length) {
    if (!context.lenient) throw refusal('KEL_SCHEMA', 'Field k names one key twice', { rule: 'duplicate-keys' })
    context.warn('one key is in k twice: its holder counts twice towards the threshold')
  }
  return { keys, publicKeys }
}

function parseWitnessThreshold(fields: Record<string, JsonValue>, context: Context): number {
  const value = fields['bt']
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  if (typeof value !== 'string' || !/^[0-9a-f]{1,8}$/.test(value))
    throw refusal('KEL_WITNESS', 'Witness threshold bt is not a number')
  if (value.length > 1 && value.startsWith('0')) {
    if (!context.lenient) throw refusal('KEL_WITNESS', `Witness threshold ${quoted(value)} has a leading zero`)
    context.warn(`witness threshold ${quoted(value)} has a leading zero`)
  }
  return Number.parseInt(value, 16)
}

function parseEstablishment(fields: Record<string, JsonValue>, context: Context): Establishment {
  const { keys, publicKeys } = parseKeys(fields, context)
  const nextDigests = textList(fields, 'n')
  for (const digest of nextDigests) checkShortMatter(digest, 'n', digestCodes)
  const threshold = parseThreshold(fields['kt'], keys.length, 'kt', context)
  const nextThreshold = parseThreshold(fields['nt'], nextDigests.length, 'nt', context)
  return {
    keys,
    publicKeys,
    threshold,
    nextDigests,
    nextThreshold,
    witnessThreshold: parseWitnessThreshold(fields, context),
  }
}

function parseWitnesses(fields: Record<string, JsonValue>, name: string): readonly string[] {
  const witnesses = textList(fields, name)
  for (const witness of witnesses) checkShortMatter(witness, name, witnessCodes)
  unique(witnesses, name)
  return witnesses
}

/**
 * The rule of the witness threshold: 0 without witnesses, else 1 to their number.
 *
 * @throws {@link KelError} `KEL_WITNESS`.
 */
export function checkWitnessThreshold(threshold: number, witnessCount: number): void {
  const valid = witnessCount === 0 ? threshold === 0 : threshold >= 1 && threshold <= witnessCount
  if (!valid) throw refusal('KEL_WITNESS', `Witness threshold ${threshold} does not fit ${witnessCount} witnesses`)
}

function parseTraits(fields: Record<string, JsonValue>, context: Context): readonly string[] {
  const traits = textList(fields, 'c')
  for (const trait of traits) if (!knownTraits.has(trait)) context.warn(`trait ${quoted(trait)} is not known`)
  return traits
}

function parseInception(fields: Record<string, JsonValue>, common: Common, context: Context): InceptionEvent {
  const type = fields['t'] as 'icp' | 'dip'
  if (common.sn !== 0)
    throw refusal('KEL_SEQ', `Inception has sequence number ${common.sn}, expected 0`, { rule: 'form' })
  const establishment = parseEstablishment(fields, context)
  const witnesses = parseWitnesses(fields, 'b')
  checkWitnessThreshold(establishment.witnessThreshold, witnesses.length)
  const event: InceptionEvent = {
    ...common,
    ...establishment,
    type,
    prior: undefined,
    witnesses,
    traits: parseTraits(fields, context),
    seals: list(fields, 'a', MAX_SEALS),
    delegator: type === 'dip' ? parsePrefix(text(fields, 'di'), 'di') : undefined,
  }
  checkBasicPrefix(event)
  return event
}

/** A prefix that is a key itself: one key, threshold 1, that very key; code B in addition promises nothing. */
function checkBasicPrefix(event: InceptionEvent): void {
  if (event.prefix.startsWith('E')) return
  if (event.type === 'dip') throw refusal('KEL_SCHEMA', 'A delegated identity needs a self-addressing prefix')
  if (event.keys.length !== 1 || event.keys[0] !== event.prefix || event.threshold.fewest !== 1) {
    throw refusal('KEL_SCHEMA', 'A basic prefix must be the one key of its inception')
  }
  const empty = event.nextDigests.length + event.witnesses.length + event.seals.length === 0
  if (event.prefix.startsWith('B') && !empty) {
    throw refusal('KEL_SCHEMA', 'A non-transferable prefix may promise no next key, name no witness and seal nothing')
  }
}

function parseRotation(fields: Record<string, JsonValue>, common: Common, context: Context): RotationEvent {
  const establishment = parseEstablishment(fields, context)
  const cuts = parseWitnesses(fields, 'br')
  const adds = parseWitnesses(fields, 'ba')
  if (cuts.some((witness) => adds.includes(witness)))
    throw refusal('KEL_WITNESS', 'A rotation cuts and adds the same witness')
  return {
    ...common,
    ...establishment,
    type: fields['t'] as 'rot' | 'drt',
    prior: parseSaid(text(fields, 'p'), 'p'),
    cuts,
    adds,
    seals: list(fields, 'a', MAX_SEALS),
  }
}

function parsePrefix(value: string, field: string): string {
  const code = value.slice(0, 1)
  if (!prefixCodes.has(code) && matterSizes.has(value.slice(0, 4))) {
    throw refusal('KEL_KEY', `Prefix ${quoted(value)} is not of a supported curve`)
  }
  checkShortMatter(value, field, prefixCodes)
  return value
}

function parseSaid(value: string, field: string): string {
  checkShortMatter(value, field, saidCodes)
  return value
}

function checkFields(fields: Record<string, JsonValue>): string {
  const type = text(fields, 't')
  const expected = fieldsOf[type]
  if (expected === undefined) throw refusal('KEL_SCHEMA', `Message type ${quoted(type)} is not part of a key event log`)
  const names = namesOf[type] as readonly string[]
  let at = 0
  for (const name in fields) if (name !== names[at++]) at = Number.NaN
  if (at === names.length) return type
  const found = Object.keys(fields).join(' ')
  const message = `Event of type ${type} has fields ${quoted(found)}, expected "${expected}"`
  throw refusal(misfits(Object.keys(fields), expected.split(' ')) ? 'KEL_SCHEMA' : 'KEL_PARSE', message)
}

const allFields = new Set(Object.values(fieldsOf).flatMap((names) => names.split(' ')))

/**
 * True when a field is missing, or is in an event of the wrong type; mere order and unknown names are faults of form.
 */
function misfits(found: readonly string[], expected: readonly string[]): boolean {
  return (
    expected.some((name) => !found.includes(name)) ||
    found.some((name) => allFields.has(name) && !expected.includes(name))
  )
}

/**
 * Parses one event or receipt: form, limits and SAID, but no signature and no place in a log.
 *
 * @param body - The exact bytes; the result keeps a view of them.
 * @param version - Its version string.
 * @throws {@link KelError} `KEL_VERSION`, `KEL_PARSE`, `KEL_SCHEMA`, `KEL_CESR`, `KEL_KEY`, `KEL_SEQ`, `KEL_THRESHOLD`,
 *   `KEL_WITNESS`, `KEL_SAID`, `KEL_LIMIT`.
 */
export function parseEvent(
  body: Uint8Array,
  version: VersionString,
  options: ParseOptions = {},
): KeyEvent | ReceiptEvent {
  requireSupportedVersion(version)
  const fields = parseCompactJson(body)
  const warnings: string[] = []
  const context: Context = {
    lenient: options.lenient === 'keripy',
    warnings,
    warn: (warning) => void warnings.push(warning),
  }
  const type = checkFields(fields)
  const common: Common = {
    said: parseSaid(text(fields, 'd'), 'd'),
    prefix: parsePrefix(text(fields, 'i'), 'i'),
    sn: parseSequence(text(fields, 's'), context),
    raw: body,
    warnings,
  }
  if (type === 'rct') return { ...common, type }
  const starts = type === 'icp' || type === 'dip'
  if (!starts && common.sn === 0)
    throw refusal('KEL_SEQ', `Event of type ${type} has sequence number 0`, { rule: 'form' })
  checkSaid(body, common.said, starts ? common.prefix : undefined)
  if (starts) return parseInception(fields, common, context)
  if (type === 'ixn') {
    return { ...common, type, prior: parseSaid(text(fields, 'p'), 'p'), seals: list(fields, 'a', MAX_SEALS) }
  }
  return parseRotation(fields, common, context)
}
