import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { releaseIdentity } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { rolesInForce } from '../release/store.ts'
import { dropTurn, readTurn } from './journal.ts'
import type { TurnRecord } from './journal.ts'
import { abandonKeyTurn, isKeyTurnBinding } from './key-rotation.ts'
import { resumeCommand } from './pending.ts'

/** A turn of a home that can be given up. */
export type AbandonedTurn = 'content' | 'identity'

/**
 * Gives up a turn that was interrupted before anything of it was in force. Keys that it made stay in their keystores,
 * unpromised and unused; the next turn takes them up.
 *
 * @param home - Open home, locked.
 * @param turn - Which one.
 * @param dryRun - Look only.
 * @returns The record of the turn.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when there is none, `CLI_TURN_PENDING` when it has gone too far.
 */
export async function abandonTurn(home: HomeSession, turn: AbandonedTurn, dryRun: boolean): Promise<TurnRecord> {
  const record = await requireTurn(home.paths.journals, turn)
  if (turn === 'content') {
    if (isContentInForce(home, record)) throw tooFar(record, resumeCommand(turn))
    if (!dryRun) await dropTurn(home.paths.journals, turn)
    return record
  }
  const identity = releaseIdentity(home)
  if (await isKeyTurnBinding(identity, record)) throw tooFar(record, resumeCommand(turn))
  if (dryRun) return record
  await dropDocument(home, record)
  await abandonKeyTurn(identity, record)
  return record
}

/**
 * As {@link abandonTurn}, for a rotation of an identity's key alone.
 *
 * @param identity - Opened to be written.
 * @param dryRun - Look only.
 */
export async function abandonRotation(identity: Identity, dryRun: boolean): Promise<TurnRecord> {
  const record = await requireTurn(identity.journals, identity.turn)
  if (await isKeyTurnBinding(identity, record)) throw tooFar(record, 'keyturn id rotate')
  if (!dryRun) await abandonKeyTurn(identity, record)
  return record
}

/**
 * As {@link abandonTurn}, for a change of the transport keys: what is stored may be published.
 *
 * @param folder - Of the journals.
 * @param dryRun - Look only.
 */
export async function abandonTransport(folder: string, dryRun: boolean): Promise<TurnRecord> {
  const record = await requireTurn(folder, 'transport')
  if (record.done.includes('store')) throw tooFar(record, resumeCommand('transport'))
  if (!dryRun) await dropTurn(folder, 'transport')
  return record
}

async function requireTurn(folder: string, turn: string): Promise<TurnRecord> {
  const record = await readTurn(folder, turn)
  if (record === undefined)
    throw new PublisherError('CLI_TURN_UNREADY', `No turn of "${turn}" was interrupted`, {
      hint: 'Nothing has to be abandoned',
    })
  return record
}

function tooFar({ turn, done }: TurnRecord, command: string): PublisherError {
  return new PublisherError(
    'CLI_TURN_PENDING',
    `The turn of "${turn}" has gone too far to be abandoned: step "${done.at(-1) ?? ''}" is over`,
    {
      hint: `Run "${command}" to finish it`,
    },
  )
}

function isContentInForce(home: HomeSession, { done, facts }: TurnRecord): boolean {
  return done.includes('home') || home.description.contentKeys.some(({ keyId }) => keyId === facts['to'])
}

/** The role document of a turn that never was: no event seals it. */
async function dropDocument(home: HomeSession, { facts }: TurnRecord): Promise<void> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const version = Number(facts['roles_version'])
  if (version === document.version + 1) await rm(join(home.paths.roles, `${version}.json`), { force: true })
}
