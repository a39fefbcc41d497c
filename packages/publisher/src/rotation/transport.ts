import { resolve } from 'node:path'
import {
  afterPublication,
  draftPublication,
  formatMetadata,
  parseIdentityName,
  parseMetadata,
  publish,
  signPublication,
} from '@keyturn/noise-keys'
import type { SignedPublication, TransportMetadata } from '@keyturn/noise-keys'
import { relayPayload, verifyPacket } from '@keyturn/noise-keys/pkarr'
import { base64Decode, base64Encode, KeyturnError } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { PublisherHost } from '../session.ts'
import { assertPrivate, handOverKeys } from '../transport/hand-over.ts'
import { directoryOf, isAddress, nowSeconds, writableDirectoriesOf } from '../transport/transport-home.ts'
import type { TransportHome } from '../transport/transport-home.ts'
import { PublisherError } from '../errors.ts'
import type { TurnStep } from './journal.ts'

/** Where transport keys are published. */
export interface TransportPlaces {
  /** Servers and folders; default: those of the home. */
  readonly to?: readonly string[] | undefined
  readonly tokenFile?: string | undefined
  /** Give the secrets to the servers among them. */
  readonly handOver?: boolean | undefined
}

/** What a turn of the transport keys comes to, before it is signed. */
export interface TransportChange {
  readonly metadata: TransportMetadata
  /** What was done, for people. */
  readonly did: string
  /** What was asked for: whoever takes an interrupted turn up sees whether it comes to the same. */
  readonly asked: string
  /** A revocation spreads by the packet first. */
  readonly order: 'turn' | 'revocation'
}

/**
 * The steps that change transport keys: the change is worked out once, signed once, handed over, kept and published.
 * Whoever finishes an interrupted turn publishes the very bytes that were signed. A revocation goes out first, to every
 * place that answers, and is handed over behind that: no server that is dead, or a thief's, holds it up.
 *
 * @param home - Open transport home, locked.
 * @param places - Where to; when a turn is taken up, the places it began with unless others are named.
 * @param change - Works it out; not asked when a turn is taken up.
 * @param order - That of the change.
 */
export function transportTurnSteps(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  change: () => Promise<TransportChange>,
  order: TransportChange['order'],
): TurnStep[] {
  if (order === 'revocation') return revocationSteps(host, home, places, change)
  return [
    {
      name: 'plan',
      title: 'work out the change of the transport keys',
      run: () => plan(host, home, places, change),
    },
    { name: 'sign', title: 'sign records, key list and packet', run: (facts) => sign(host, home, places, facts) },
    {
      name: 'hand-over',
      title: 'hand the keys over to the servers that use them',
      run: (facts) => handOver(host, home, places, facts),
    },
    // Stored before anything goes out: a sequence number that was signed is never signed again.
    {
      name: 'store',
      title: 'keep what was signed',
      run: async (facts) => {
        await home.store(metadataAfter(facts))
        return undefined
      },
    },
    {
      name: 'publish',
      title: 'publish records, key list and packet',
      run: (facts) => send(host, home, places, facts),
    },
  ]
}

function revocationSteps(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  change: () => Promise<TransportChange>,
): TurnStep[] {
  const failures = new Map<string, KeyturnError>()
  return [
    {
      name: 'plan',
      title: 'work out the change of the transport keys',
      run: () => plan(host, home, places, change),
    },
    { name: 'sign', title: 'sign records, key list and packet', run: (facts) => sign(host, home, places, facts) },
    {
      name: 'store',
      title: 'keep what was signed',
      run: async (facts) => {
        await home.store(metadataAfter(facts))
        return undefined
      },
    },
    {
      name: 'publish',
      title: 'publish packet, records and key list wherever they are taken',
      run: (facts) => sendAnywhere(host, home, places, facts, failures),
    },
    {
      name: 'hand-over',
      title: 'hand the keys over to the servers that use them',
      run: (facts) => handOver(host, home, places, facts, true),
    },
    {
      name: 'everywhere',
      title: 'publish where that failed',
      run: (facts) => sendEverywhere(host, home, places, facts, failures),
    },
  ]
}

/** The metadata once the turn is over. */
export function metadataAfter(facts: JsonObject): TransportMetadata {
  return afterPublication(metadataOf(facts), publicationOf(facts['publication']))
}

async function plan(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  change: () => Promise<TransportChange>,
): Promise<JsonObject> {
  const { to, handOver: hands } = places
  // What the flags get wrong is said before a turn begins.
  const named = (await directories(host, home, places, {})).map(({ name }) => name).filter(isAddress)
  if (hands === true) named.forEach(assertPrivate)
  const { metadata, did, order, asked } = await change()
  return {
    metadata: base64Encode(formatMetadata(metadata)),
    did,
    order,
    asked,
    at_s: nowSeconds(host),
    hand_over: hands === true,
    ...(to === undefined ? {} : { to: to.map((place) => (isAddress(place) ? place : resolve(place))) }),
  }
}

async function sign(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  facts: JsonObject,
): Promise<JsonObject> {
  const metadata = metadataOf(facts)
  const directory = directoryOf(await directories(host, home, places, facts))
  const { packet } = await directory.read(parseIdentityName(metadata.identity), { fresh: true })
  const signed = await home.withSeed((seed) =>
    signPublication(seed, draftPublication(metadata, Number(facts['at_s']), packet)),
  )
  return {
    publication: {
      identity: signed.identity,
      at_s: signed.atS,
      records: [...signed.records].map(([device, text]) => [device, text]),
      list: base64Encode(signed.list),
      packet: base64Encode(relayPayload(signed.packet)),
    },
  }
}

async function handOver(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  facts: JsonObject,
  bestEffort = false,
): Promise<JsonObject> {
  const named = (await directories(host, home, places, facts)).map(({ name }) => name).filter(isAddress)
  const servers = facts['hand_over'] === true || places.handOver === true ? named : []
  const { handed, failed } = await handOverKeys(host, home, metadataOf(facts), {
    servers,
    tokenFile: places.tokenFile,
    bestEffort,
  })
  return { handed_to: [...handed], ...(failed.length === 0 ? {} : { not_handed_to: [...failed] }) }
}

async function send(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  facts: JsonObject,
): Promise<JsonObject> {
  const to = await directories(host, home, places, facts)
  await publish(directoryOf(to), publicationOf(facts['publication']))
  return { published_to: to.map(({ name }) => name) }
}

/** Publishes a revocation place by place; fails when none takes it. */
async function sendAnywhere(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  facts: JsonObject,
  failures: Map<string, KeyturnError>,
): Promise<JsonObject> {
  const to = await directories(host, home, places, facts)
  for (const directory of to) {
    try {
      await publish(directory, publicationOf(facts['publication']), 'revocation')
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      failures.set(directory.name, error)
      host.warn(`"${directory.name}" does not take the revocation: ${error.message}`)
    }
  }
  const missed = to.map(({ name }) => name).filter((name) => failures.has(name))
  const published = to.map(({ name }) => name).filter((name) => !failures.has(name))
  if (published.length === 0) throw notTaken(missed, published, failures)
  return { published_to: published, missed }
}

/** The places that missed a revocation: tried once by each command that takes the turn up. */
async function sendEverywhere(
  host: PublisherHost,
  home: TransportHome,
  places: TransportPlaces,
  facts: JsonObject,
  failures: Map<string, KeyturnError>,
): Promise<JsonObject> {
  const wordsOf = (name: string): string[] =>
    Array.isArray(facts[name]) ? (facts[name] as JsonValue[]).map(String) : []
  const published = wordsOf('published_to')
  const named = await directories(host, home, places, facts)
  const left = named.filter(({ name }) =>
    places.to === undefined ? wordsOf('missed').includes(name) : !published.includes(name),
  )
  for (const directory of left.filter(({ name }) => !failures.has(name))) {
    await publish(directory, publicationOf(facts['publication']), 'revocation').catch((error: unknown) => {
      if (!(error instanceof KeyturnError)) throw error
      failures.set(directory.name, error)
    })
  }
  const missed = left.map(({ name }) => name).filter((name) => failures.has(name))
  if (missed.length > 0) throw notTaken(missed, published, failures)
  return { published_to: [...new Set([...published, ...left.map(({ name }) => name)])], missed: [] }
}

function notTaken(
  missed: readonly string[],
  published: readonly string[],
  failures: ReadonlyMap<string, KeyturnError>,
): KeyturnError {
  const names = missed.map((name) => `"${name}"`).join(', ')
  const cause = failures.get(missed[0] ?? '')
  const hint =
    published.length === 0
      ? 'Run the same command again, with --to and a place that answers'
      : `It is published to ${published.join(', ')}. Run the same command when the place answers, or with "--to ${published[0] ?? ''}" to leave that one out`
  return new PublisherError('CLI_NETWORK', `${names} did not take the revocation: ${cause?.message ?? ''}`, {
    ...(cause === undefined ? {} : { cause }),
    hint,
  })
}

function directories(
  host: PublisherHost,
  home: TransportHome,
  { to, tokenFile }: TransportPlaces,
  facts: JsonObject,
): ReturnType<typeof writableDirectoriesOf> {
  const begun = Array.isArray(facts['to']) ? facts['to'].map(String) : undefined
  return writableDirectoriesOf(host, to ?? begun, { session: home.session, tokenFile })
}

function metadataOf({ metadata }: JsonObject): TransportMetadata {
  if (typeof metadata !== 'string')
    throw new PublisherError('CLI_TURN_JOURNAL', 'Journal of the transport turn lacks its metadata')
  return parseMetadata(base64Decode(metadata))
}

function publicationOf(value: JsonValue | undefined): SignedPublication {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PublisherError('CLI_TURN_JOURNAL', 'Journal of the transport turn lacks what was signed')
  const { identity, at_s: atS, records, list, packet } = value
  const { name, publicKey } = parseIdentityName(String(identity))
  return {
    identity: name,
    atS: Number(atS),
    list: base64Decode(String(list)),
    packet: verifyPacket(publicKey, base64Decode(String(packet))),
    records: new Map((records as [string, string][]).map(([device, text]) => [device, text])),
  }
}
