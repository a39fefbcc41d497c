import type { JsonObject } from '@keyturn/primitives'
import { CliError } from '../errors.ts'
import type { HomeSession } from '../publisher/home-session.ts'
import { readIdentityLog } from '../publisher/store.ts'
import { dropTurn, readTurn, type TurnRecord } from './journal.ts'

/** A turn that can be given up. */
export type AbandonedTurn = 'content' | 'identity'

/**
 * Gives up a turn that was interrupted before anything of it was in force. Keys that it made stay in their keystores,
 * unpromised and unused; the next turn takes them up.
 *
 * @param home - Open home, locked.
 * @param turn - Which one.
 * @param dryRun - Look only.
 * @returns The record of the turn.
 * @throws {@link CliError} `CLI_TURN_UNREADY` when there is none, `CLI_TURN_PENDING` when it has gone too far.
 */
export async function abandonTurn(home: HomeSession, turn: AbandonedTurn, dryRun: boolean): Promise<TurnRecord> {
  const record = await readTurn(home.paths.journals, turn)
  if (record === undefined) throw new CliError('CLI_TURN_UNREADY', `No turn of "${turn}" was interrupted`, { hint: 'Nothing has to be abandoned' })
  const isBinding = turn === 'content' ? isContentInForce(home, record) : await isRotationBegun(home, record)
  if (isBinding) {
    throw new CliError('CLI_TURN_PENDING', `The turn of "${turn}" has gone too far to be abandoned: step "${record.done.at(-1) ?? ''}" is over`, {
      hint: `Run "keyturn rotate ${turn}" to finish it`,
    })
  }
  if (dryRun) return record
  if (turn === 'identity' && record.done.includes('next-key')) await takeBack(home, record.facts)
  await dropTurn(home.paths.journals, turn)
  return record
}

function isContentInForce(home: HomeSession, { done, facts }: TurnRecord): boolean {
  return done.includes('home') || home.description.contentKeys.some(({ keyId }) => keyId === facts['to'])
}

/** Once the role document is written the rotation may have begun, and witnesses may have signed it. */
async function isRotationBegun(home: HomeSession, { done, facts }: TurnRecord): Promise<boolean> {
  if (done.includes('roles')) return true
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  return typeof facts['sn'] === 'number' && log.state.sn >= facts['sn']
}

/** The promised key must not stay beside the current one: out of the keystore and out of the generation before. */
async function takeBack(home: HomeSession, facts: JsonObject): Promise<void> {
  const keys = await home.keys()
  const alias = String(facts['identity'])
  if (alias === home.description.identity.alias) return
  if (keys.has(alias)) await keys.store.remove(alias)
  await keys.store.change(() => undefined)
}
