import { checkAlias } from '@keyturn/keystore'
import { base64Encode } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { parseKeyText } from '@keyturn/kel'
import type { Seal } from '@keyturn/kel'
import type { Identity } from '../identity/identity.ts'
import { damagedJournal } from './facts.ts'
import type { Facts } from './facts.ts'
import type { Rotation } from './journal.ts'

/** A key as a journal names it: public things only. */
export interface KeyPlace {
  readonly alias: string
  readonly file: string
  /** Hex. */
  readonly publicKey: string
}

/** What a rotation says beside the keys; kept in the journal, so that whatever finishes it needs no flags. */
export interface RotationTerms {
  /** Anchors, in order. */
  readonly seals: readonly Seal[]
  readonly addWitnesses?: readonly string[] | undefined
  readonly removeWitnesses?: readonly string[] | undefined
  readonly witnessThreshold?: number | undefined
}

/** What the step that makes the next keys leaves. */
export interface MadeKeys {
  /** SAID of the event that the rotation follows. */
  readonly prior: string
  /** Alias of the key that leaves. */
  readonly retired: string
  readonly atMs: number
  /** The promised keys that come into force. */
  readonly revealed: readonly KeyPlace[]
  /** The keys that the rotation promises. */
  readonly future: readonly KeyPlace[]
  readonly terms: RotationTerms
  /** Alias that was asked for, for the key that comes into force. */
  readonly nextAlias?: string | undefined
}

/** The signed event. */
export interface SignedRotation {
  readonly sn: number
  readonly said: string
  /** Literal bytes, with the receipts that were collected so far. */
  readonly message: Uint8Array
  /** How many witnesses it names. */
  readonly witnesses: number
}

/** What the rotation of an identity's key remembers. */
export interface KeyRotationState {
  /** After the step `identity-make`. */
  readonly made?: MadeKeys | undefined
  /** After the step `identity-sign`. */
  readonly event?: SignedRotation | undefined
  /** After the step `identity-stage`: the alias in the end, and the one until then. */
  readonly staged?: { readonly alias: string; readonly until: string } | undefined
}

const MAX_SN = Number.MAX_SAFE_INTEGER
const SAID = /^[A-Z][A-Za-z0-9_-]{43}$/

/** Reads the facts that begin with `identity_`. */
export function parseKeyRotation(facts: Facts, isDone: (step: string) => boolean): KeyRotationState {
  return {
    made: isDone('identity-make') ? parseMade(facts) : undefined,
    event: isDone('identity-sign') ? parseSigned(facts) : undefined,
    staged: isDone('identity-stage')
      ? { alias: facts.text('identity_alias', checkAlias), until: facts.text('identity_staged', checkAlias) }
      : undefined,
  }
}

function parseMade(facts: Facts): MadeKeys {
  // Any text was taken once; an alias that the keystore refuses counts as none.
  const asked = facts.optional('identity_next_alias', (name) => facts.text(name))
  return {
    prior: facts.text('identity_prior', (text) => SAID.test(text)),
    retired: facts.text('identity_retired', checkAlias),
    atMs: facts.isoAsMs('identity_at'),
    revealed: facts.list('identity_revealed', (item, at) => facts.item(item, at, parsePlace)),
    future: facts.list('identity_future', (item, at) => facts.item(item, at, parsePlace)),
    terms: facts.object('identity_terms', parseTerms),
    nextAlias: asked !== undefined && isAlias(asked) ? asked : undefined,
  }
}

/** Whether a keystore takes the alias. */
export function isAlias(text: string): boolean {
  try {
    checkAlias(text)
    return true
  } catch {
    return false
  }
}

function parsePlace(facts: Facts): KeyPlace {
  return {
    alias: facts.text('alias', checkAlias),
    file: facts.text('file'),
    publicKey: facts.hex('publicKey', 32),
  }
}

function parseTerms(facts: Facts): RotationTerms {
  const witness = (text: string): void => void parseKeyText(text)
  return {
    seals: facts.list('seals', (item, at) => facts.item(item, at, parseSeal)),
    addWitnesses: facts.optional('add_witnesses', (name) => facts.words(name, witness)),
    removeWitnesses: facts.optional('remove_witnesses', (name) => facts.words(name, witness)),
    witnessThreshold: facts.optional('witness_threshold', (name) => facts.integer(name, 0, 1000)),
  }
}

function parseSeal(facts: Facts): Seal {
  const d = facts.text('d', (text) => SAID.test(text))
  if (!facts.has('i')) return { d }
  const i = facts.text('i', (text) => SAID.test(text))
  return { i, s: facts.text('s', (text) => /^(?:0|[1-9a-f][0-9a-f]{0,15})$/.test(text)), d }
}

function parseSigned(facts: Facts): SignedRotation {
  return {
    sn: facts.integer('identity_sn', 1, MAX_SN),
    said: facts.text('identity_said', (text) => SAID.test(text)),
    message: facts.base64('identity_message'),
    witnesses: facts.integer('identity_witnesses', 0, 1000),
  }
}

/** The facts that begin with `identity_`, as {@link parseKeyRotation} reads them. */
export function formatKeyRotation({ made, event, staged }: KeyRotationState): JsonObject {
  return {
    ...(made === undefined ? {} : formatMade(made)),
    ...(event === undefined
      ? {}
      : {
          identity_sn: event.sn,
          identity_said: event.said,
          identity_message: base64Encode(event.message),
          identity_witnesses: event.witnesses,
        }),
    ...(staged === undefined ? {} : { identity_alias: staged.alias, identity_staged: staged.until }),
  }
}

function formatMade({ prior, retired, atMs, revealed, future, terms, nextAlias }: MadeKeys): JsonObject {
  return {
    identity_prior: prior,
    identity_retired: retired,
    identity_at: new Date(atMs).toISOString(),
    identity_revealed: revealed.map((place) => ({ ...place })),
    identity_future: future.map((place) => ({ ...place })),
    identity_terms: formatTerms(terms),
    ...(nextAlias === undefined ? {} : { identity_next_alias: nextAlias }),
  }
}

function formatTerms({ seals, addWitnesses, removeWitnesses, witnessThreshold }: RotationTerms): JsonObject {
  return {
    seals: seals.map((seal): JsonValue => ({ ...seal })),
    ...(addWitnesses === undefined ? {} : { add_witnesses: [...addWitnesses] }),
    ...(removeWitnesses === undefined ? {} : { remove_witnesses: [...removeWitnesses] }),
    ...(witnessThreshold === undefined ? {} : { witness_threshold: witnessThreshold }),
  }
}

/** The steps of the rotation of an identity's key, in order. */
export const KEY_ROTATION_STEPS = [
  'identity-make',
  'identity-sign',
  'identity-witness',
  'identity-stage',
  'identity-append',
  'identity-activate',
  'identity-retire',
] as const

/**
 * The journal of `keyturn id rotate`: `identity-key` on a release identity, `identity` beside the log of a named one.
 */
export function keyRotation({ journal }: Pick<Identity, 'journal'>): Rotation<KeyRotationState> {
  return {
    name: journal,
    what: 'the identity alone',
    orders: [KEY_ROTATION_STEPS],
    parse: parseKeyRotation,
    format: formatKeyRotation,
  }
}

/** What the step that makes keys left, for the steps after it. */
export function madeIn({ made }: KeyRotationState): MadeKeys {
  if (made === undefined) throw damagedJournal('the rotation of an identity', 'it has no keys')
  return made
}

/** The signed event, for the steps after it. */
export function eventIn({ event }: KeyRotationState): SignedRotation {
  if (event === undefined) throw damagedJournal('the rotation of an identity', 'it has no signed event')
  return event
}

/** The aliases of the key that comes into force, for the steps after staging. */
export function stagedIn({ staged }: KeyRotationState): { readonly alias: string; readonly until: string } {
  if (staged === undefined) throw damagedJournal('the rotation of an identity', 'it has no alias')
  return staged
}
