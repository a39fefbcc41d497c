import { parseIdentityName } from '@keyturn/noise-keys'
import { formatMetadata, parseMetadata } from '@keyturn/noise-keys/owner'
import type { SignedPublication, TransportMetadata } from '@keyturn/noise-keys/owner'
import { relayPayload, verifyPacket } from '@keyturn/noise-keys/pkarr'
import { base64Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { damagedJournal } from './facts.ts'
import type { Facts } from './facts.ts'
import type { Rotation } from './journal.ts'

/** In which order a change is published: a revocation spreads by the packet first. */
export type TransportOrder = 'turn' | 'revocation'

/** What a change of the transport keys comes to, before it is signed. */
export interface TransportChange {
  readonly metadata: TransportMetadata
  /** What was done, for people. */
  readonly did: string
  /** What was asked for: a command that finds the change interrupted sees whether it comes to the same. */
  readonly asked: string
  readonly order: TransportOrder
}

/** What a change of the transport keys set out to do. */
export interface TransportTerms extends TransportChange {
  readonly atMs: number
  /** Give the secrets to the servers among the places. */
  readonly handOver: boolean
  /** Servers and folders; undefined for those of the home. */
  readonly to: readonly string[] | undefined
}

/** What a change of the transport keys remembers. */
export interface TransportState {
  /** After the step `plan`. */
  readonly terms?: TransportTerms | undefined
  /** After the step `sign`. */
  readonly publication?: SignedPublication | undefined
  /** After the step `hand-over`. */
  readonly handedTo?: readonly string[] | undefined
  readonly notHandedTo?: readonly string[] | undefined
  /** After the step `publish`. */
  readonly publishedTo?: readonly string[] | undefined
  /** Of a revocation: the places that did not take it. */
  readonly missed?: readonly string[] | undefined
}

function parseTerms(facts: Facts): TransportTerms {
  const bytes = facts.base64('metadata')
  const order = facts.text('order', (text) => text === 'turn' || text === 'revocation')
  return {
    metadata: facts.parsed('metadata', () => parseMetadata(bytes)),
    did: facts.text('did'),
    order: order === 'revocation' ? 'revocation' : 'turn',
    asked: facts.text('asked'),
    atMs: facts.secondsAsMs('at_s'),
    handOver: facts.boolean('hand_over'),
    to: facts.optional('to', (name) => facts.words(name)),
  }
}

function parsePublication(facts: Facts): SignedPublication {
  const identity = facts.text('identity', (text) => void parseIdentityName(text))
  const { name, publicKey } = parseIdentityName(identity)
  const packet = facts.base64('packet')
  return {
    identity: name,
    atS: facts.secondsAsMs('at_s') / 1000,
    list: facts.base64('list'),
    packet: facts.parsed('packet', () => verifyPacket(publicKey, packet)),
    records: new Map(
      facts.list('records', (item, at) => {
        const [device, text, ...more] = Array.isArray(item) ? item : []
        if (typeof device !== 'string' || typeof text !== 'string' || more.length > 0)
          throw damagedJournal('the rotation "transport"', `"${at}": expected a device and its record`)
        return [device, text] as const
      }),
    ),
  }
}

function formatPublication(signed: SignedPublication): JsonObject {
  return {
    identity: signed.identity,
    at_s: signed.atS,
    records: [...signed.records].map(([device, text]) => [device, text]),
    list: base64Encode(signed.list),
    packet: base64Encode(relayPayload(signed.packet)),
  }
}

/** The journal of `keyturn rotate transport` and of every other change of the transport keys. */
export const transportRotation: Rotation<TransportState> = {
  name: 'transport',
  what: 'the transport keys',
  orders: [
    ['plan', 'sign', 'hand-over', 'store', 'publish'],
    ['plan', 'sign', 'store', 'publish', 'hand-over', 'everywhere'],
  ],
  parse(facts, isDone) {
    const words = (name: string): string[] => facts.words(name)
    return {
      terms: isDone('plan') ? parseTerms(facts) : undefined,
      publication: isDone('sign') ? facts.object('publication', parsePublication) : undefined,
      handedTo: isDone('hand-over') ? words('handed_to') : undefined,
      notHandedTo: facts.optional('not_handed_to', words),
      publishedTo: isDone('publish') ? words('published_to') : undefined,
      missed: facts.optional('missed', words),
    }
  },
  format({ terms, publication, handedTo, notHandedTo, publishedTo, missed }) {
    return {
      ...(terms === undefined
        ? {}
        : {
            metadata: base64Encode(formatMetadata(terms.metadata)),
            did: terms.did,
            order: terms.order,
            asked: terms.asked,
            at_s: terms.atMs / 1000,
            hand_over: terms.handOver,
            ...(terms.to === undefined ? {} : { to: [...terms.to] }),
          }),
      ...(publication === undefined ? {} : { publication: formatPublication(publication) }),
      ...(handedTo === undefined ? {} : { handed_to: [...handedTo] }),
      ...(notHandedTo === undefined ? {} : { not_handed_to: [...notHandedTo] }),
      ...(publishedTo === undefined ? {} : { published_to: [...publishedTo] }),
      ...(missed === undefined ? {} : { missed: [...missed] }),
    }
  },
}

/** What a change set out to do, for the steps after its plan. */
export function transportTermsIn({ terms }: TransportState): TransportTerms {
  if (terms === undefined) throw damagedJournal('the rotation "transport"', 'it has no plan')
  return terms
}

/** What was signed, for the steps after it. */
export function publicationIn({ publication }: TransportState): SignedPublication {
  if (publication === undefined) throw damagedJournal('the rotation "transport"', 'it has no signed publication')
  return publication
}
