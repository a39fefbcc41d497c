import { resolve } from 'node:path'
import { parseIdentityName } from '@keyturn/noise-keys'
import { afterPublication, draftPublication, publish, signPublication } from '@keyturn/noise-keys/owner'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { KeyturnError } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'
import type { PublisherHost } from '../session.ts'
import { assertPrivate, handOverKeys } from '../transport/hand-over.ts'
import { directoryOf, isAddress, nowSeconds, writableDirectoriesOf } from '../transport/transport-home.ts'
import type { TransportHome } from '../transport/transport-home.ts'
import type { RotationStep } from './journal.ts'
import { publicationIn, transportTermsIn } from './transport-state.ts'
import type { TransportChange, TransportOrder, TransportState } from './transport-state.ts'

/** Where transport keys are published. */
export interface TransportPlaces {
  /** Servers and folders; default: those of the home. */
  readonly to?: readonly string[] | undefined
  readonly tokenFile?: string | undefined
  /** Give the secrets to the servers among them. */
  readonly handOver?: boolean | undefined
}

/** A change of transport keys, and what it works on. */
export interface TransportRotation {
  readonly host: PublisherHost
  /** Open transport home, locked. */
  readonly home: TransportHome
  /** Where to; when an interrupted change is resumed, the places it began with unless others are named. */
  readonly places: TransportPlaces
  /** Works the change out; not asked when one is resumed. */
  readonly change: () => Promise<TransportChange>
  /** That of the change. */
  readonly order: TransportOrder
}

type Step = RotationStep<TransportState>

/**
 * The steps that change transport keys: the change is worked out once, signed once, delivered, kept and published.
 * What finishes an interrupted change publishes the very bytes that were signed. A revocation goes out first, to every
 * place that answers, and is delivered after that: no server that is dead, or a thief's, holds it up.
 */
export function transportRotationSteps(work: TransportRotation): Step[] {
  const begin: Step[] = [
    { name: 'plan', title: 'work out the change of the transport keys', run: () => plan(work) },
    { name: 'sign', title: 'sign records, key list and packet', run: (state) => sign(work, state) },
  ]
  // Stored before anything goes out: a sequence number that was signed is never signed again.
  const store: Step = {
    name: 'store',
    title: 'keep what was signed',
    run: async (state) => {
      await work.home.store(metadataAfter(state))
      return undefined
    },
  }
  const handsOver = (bestEffort: boolean): Step => ({
    name: 'hand-over',
    title: 'deliver the keys to the servers that use them',
    run: (state) => handOver(work, state, bestEffort),
  })
  return work.order === 'revocation'
    ? [...begin, store, ...revocationSteps(work, handsOver(true))]
    : [
        ...begin,
        handsOver(false),
        store,
        { name: 'publish', title: 'publish records, key list and packet', run: (state) => send(work, state) },
      ]
}

function revocationSteps(work: TransportRotation, handsOver: Step): Step[] {
  const failures = new Map<string, KeyturnError>()
  return [
    {
      name: 'publish',
      title: 'publish packet, records and key list wherever they are taken',
      run: (state) => sendAnywhere(work, state, failures),
    },
    handsOver,
    {
      name: 'everywhere',
      title: 'publish where that failed',
      run: (state) => sendEverywhere(work, state, failures),
    },
  ]
}

/** The metadata once the change is finished. */
export function metadataAfter(state: TransportState): TransportMetadata {
  return afterPublication(transportTermsIn(state).metadata, publicationIn(state))
}

async function plan(work: TransportRotation): Promise<Partial<TransportState>> {
  const { to, handOver: hands } = work.places
  // What the flags get wrong is said before a change begins.
  const named = (await directories(work, {})).map(({ name }) => name).filter(isAddress)
  if (hands === true) named.forEach(assertPrivate)
  const change = await work.change()
  return {
    terms: {
      ...change,
      atMs: nowSeconds(work.host) * 1000,
      handOver: hands === true,
      to: to?.map((place) => (isAddress(place) ? place : resolve(place))),
    },
  }
}

async function sign(work: TransportRotation, state: TransportState): Promise<Partial<TransportState>> {
  const { metadata, atMs } = transportTermsIn(state)
  const directory = directoryOf(await directories(work, state))
  const { packet } = await directory.read(parseIdentityName(metadata.identity), { fresh: true })
  const publication = await work.home.withSeed((seed) =>
    signPublication(seed, draftPublication(metadata, atMs / 1000, packet)),
  )
  return { publication }
}

async function handOver(
  work: TransportRotation,
  state: TransportState,
  bestEffort: boolean,
): Promise<Partial<TransportState>> {
  const { host, home, places } = work
  const terms = transportTermsIn(state)
  const named = (await directories(work, state)).map(({ name }) => name).filter(isAddress)
  const servers = terms.handOver || places.handOver === true ? named : []
  const { handed, failed } = await handOverKeys(host, home, terms.metadata, {
    servers,
    tokenFile: places.tokenFile,
    bestEffort,
  })
  return { handedTo: handed, notHandedTo: failed.length === 0 ? undefined : failed }
}

async function send(work: TransportRotation, state: TransportState): Promise<Partial<TransportState>> {
  const to = await directories(work, state)
  await publish(directoryOf(to), publicationIn(state))
  return { publishedTo: to.map(({ name }) => name) }
}

/** Publishes a revocation place by place; fails when none takes it. */
async function sendAnywhere(
  work: TransportRotation,
  state: TransportState,
  failures: Map<string, KeyturnError>,
): Promise<Partial<TransportState>> {
  const to = await directories(work, state)
  for (const directory of to) {
    try {
      await publish(directory, publicationIn(state), 'revocation')
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      failures.set(directory.name, error)
      work.host.warn(`"${directory.name}" does not take the revocation: ${error.message}`)
    }
  }
  const missed = to.map(({ name }) => name).filter((name) => failures.has(name))
  const publishedTo = to.map(({ name }) => name).filter((name) => !failures.has(name))
  if (publishedTo.length === 0) throw notTaken(missed, publishedTo, failures)
  return { publishedTo, missed }
}

/** The places that missed a revocation: tried once by each command that resumes it. */
async function sendEverywhere(
  work: TransportRotation,
  state: TransportState,
  failures: Map<string, KeyturnError>,
): Promise<Partial<TransportState>> {
  const published = state.publishedTo ?? []
  const left = (await directories(work, state)).filter(({ name }) =>
    work.places.to === undefined ? state.missed?.includes(name) === true : !published.includes(name),
  )
  for (const directory of left.filter(({ name }) => !failures.has(name))) {
    await publish(directory, publicationIn(state), 'revocation').catch((error: unknown) => {
      if (!(error instanceof KeyturnError)) throw error
      failures.set(directory.name, error)
    })
  }
  const missed = left.map(({ name }) => name).filter((name) => failures.has(name))
  if (missed.length > 0) throw notTaken(missed, published, failures)
  return { publishedTo: [...new Set([...published, ...left.map(({ name }) => name)])], missed: [] }
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
      : `It is published to ${published.join(', ')}. Run the same command when the place answers, or with "--to ` +
        `${published[0] ?? ''}" to leave that one out`
  return new PublisherError('CLI_NETWORK', `${names} did not take the revocation: ${cause?.message ?? ''}`, {
    cause,
    hint,
  })
}

function directories(
  { host, home, places: { to, tokenFile } }: TransportRotation,
  { terms }: TransportState,
): ReturnType<typeof writableDirectoriesOf> {
  return writableDirectoriesOf(host, to ?? terms?.to, { session: home.session, tokenFile })
}
