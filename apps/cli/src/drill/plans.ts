import { keyAlias } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { findRelease, readStoredHead } from '@keyturn/publisher/records'
import { forgedHead, forgedInteraction, forgedManifest, forgedRotation, oldLog } from '../demo/forgeries.ts'
import type { Tamper } from '../demo/stage.ts'
import { BACKUP, NEXT_KEY } from './shadow.ts'
import type { Shadow } from './shadow.ts'
import { inOrder } from './thief.ts'

/** What can be practised. */
export const drillKinds = ['release-stolen', 'head-stolen', 'identity-stolen', 'server-lost', 'laptop-lost'] as const
export type DrillKind = (typeof drillKinds)[number]

/** How the drill looks at the launchers while the publisher acts. */
export interface Watch {
  /** Waits until every launcher installs nothing that a stolen key signs. */
  protectedFromNowOn(): Promise<void>
  /** Waits until every player has started the game once more. */
  playOnce(): Promise<void>
  /** Leads every launcher to a server of the thief. */
  thiefShows(what: string, tamper: Tamper): Promise<void>
  /** What the server answers the thief: the code of its refusal, empty when it refuses nothing. */
  serverAnswers(what: string, code: string): void
}

/** One thing that happens, and what the publisher does about it. */
export interface DrillPlan {
  /** What happens, for the report. */
  readonly happens: string
  /** What can happen until the publisher has acted. */
  readonly until: string
  /** Makes it happen, at second 0. */
  happen(shadow: Shadow): Promise<void>
  /** What the publisher types, up to the next release. */
  respond(shadow: Shadow, watch: Watch): Promise<void>
  /** What the thief tries once every launcher has followed. */
  attack?(shadow: Shadow, watch: Watch): Promise<void>
}

/** Documents of a thief count this far ahead, so that no sequence number alone refuses them. */
const AHEAD = 50

/** The home as it was at the moment of the theft. */
const STOLEN = 'stolen'

/** Shows something beside the newest log, then beside the log of the time of the theft. */
async function showTwice(home: HomeSession, watch: Watch, what: string, tamper: Tamper): Promise<void> {
  await watch.thiefShows(what, tamper)
  await watch.thiefShows(`${what}, with the log of before`, inOrder(tamper, await oldLog(home)))
}

/** A release of the thief's own under the stolen keys. */
async function showRelease(shadow: Shadow, watch: Watch): Promise<void> {
  const home = await shadow.open(STOLEN)
  const release = await findRelease(home.paths, shadow.names.channel)
  const head = required(await readStoredHead(home.paths, shadow.names.channel))
  const forged = await forgedManifest(home, release, head, { oldKey: keyAlias.release(1), ahead: AHEAD })
  await showTwice(home, watch, 'a release under the stolen key', forged)
}

/** A head of the thief's that holds players at the release of that time. */
async function showHead(shadow: Shadow, watch: Watch): Promise<void> {
  const home = await shadow.open(STOLEN)
  const head = required(await readStoredHead(home.paths, shadow.names.channel))
  await showTwice(home, watch, 'a head that offers the old release', await forgedHead(home, head, AHEAD))
}

/** A rotation of the identity to keys of the thief. */
async function showRotation(shadow: Shadow, watch: Watch): Promise<void> {
  const home = await shadow.open(STOLEN)
  await watch.thiefShows('a rotation to keys of the thief', await forgedRotation(home, keyAlias.identity(1)))
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('The shadow has no head')
  return value
}

/** Ends the stolen key by itself, then rotates it with the key on the stick. */
function stolenRole(role: 'release' | 'head'): Pick<DrillPlan, 'happen' | 'respond'> {
  return {
    happen: (shadow) => shadow.copyHome(STOLEN),
    respond: async (shadow, watch) => {
      await shadow.type('release', 'kill', role)
      await watch.protectedFromNowOn()
      await watch.playOnce()
      await shadow.type('rotate', role, '--revoke', '--next-key-file', NEXT_KEY)
    },
  }
}

/** Every drill. */
export const drillPlans: Readonly<Record<DrillKind, DrillPlan>> = {
  'release-stolen': {
    happens: 'The release key is stolen, and the thief has a head to go with it.',
    until: 'with a head key or a server that signs heads unasked, the thief offers a release to anyone who asks them.',
    ...stolenRole('release'),
    attack: showRelease,
  },
  'head-stolen': {
    happens: 'The head key is stolen.',
    until:
      'the thief holds launchers at an older release that is not below their floor, and chooses rollout and mirrors.',
    ...stolenRole('head'),
    attack: showHead,
  },
  'identity-stolen': {
    happens: 'The current identity key is stolen. The next one is on a stick.',
    until: 'the thief signs statements in the name of the identity, but no role and no release.',
    happen: (shadow) => shadow.copyHome(STOLEN),
    respond: async (shadow, watch) => {
      const home = await shadow.open(STOLEN)
      const forged = await forgedInteraction(home, keyAlias.identity(1))
      await watch.thiefShows('an event that names keys of the thief', forged)
      await shadow.type('emergency', 'rotate-now', '--reason', 'identity key stolen', '--next-key-file', NEXT_KEY)
      await shadow.type('release', 'renew', '--all')
      await watch.playOnce()
    },
    attack: showRotation,
  },
  'server-lost': {
    happens: 'The server is gone with its disk. There is no backup of it.',
    until: 'nobody can update, and everybody plays. Nothing was stolen.',
    happen: (shadow) => shadow.loseServer(),
    respond: async (shadow, watch) => {
      await watch.playOnce()
      await shadow.replaceServer()
    },
  },
  'laptop-lost': {
    happens: 'The laptop is gone, with its passphrase: release, head and identity key, and the access token.',
    until: 'the thief publishes a release with the token, in the open, or offers one to anyone who asks them.',
    happen: (shadow) => shadow.loseLaptop(STOLEN),
    respond: async (shadow, watch) => {
      await shadow.replaceToken()
      await shadow.type('restore', BACKUP)
      await shadow.type('release', 'kill', 'both')
      await watch.protectedFromNowOn()
      await watch.playOnce()
      await shadow.type('emergency', 'rotate-now', '--reason', 'laptop lost', '--next-key-file', NEXT_KEY)
      await shadow.type('rotate', 'release', '--revoke', '--next-key-file', NEXT_KEY)
    },
    attack: async (shadow, watch) => {
      watch.serverAnswers('the stolen access token', await shadow.answerToThief())
      await showRelease(shadow, watch)
      await showRotation(shadow, watch)
    },
  },
}
