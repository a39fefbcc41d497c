import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'
import { pendingTurns, readTurn } from './journal.ts'

const SEAL = 'keyturn roles seal'

/** The command that finishes a turn of a home, by the name of its journal. */
const resumeCommands: Readonly<Record<string, string>> = {
  content: 'keyturn rotate content',
  identity: 'keyturn rotate identity',
  'identity-key': 'keyturn id rotate',
  transport: 'keyturn rotate transport',
  vault: 'keyturn rotate vault',
}

/** Turns that change what releases are made of, or who may sign them. */
const releaseTurns: readonly string[] = ['content', 'identity']
/** Turns that share keys and files: one is finished before another begins. */
const rivals: readonly string[] = [...releaseTurns, 'identity-key']

/**
 * The command that finishes a turn.
 *
 * @param turn - Name of its journal.
 */
export function resumeCommand(turn: string): string {
  return resumeCommands[turn] ?? `keyturn rotate ${turn}`
}

/**
 * The command that finishes an interrupted turn and does no more: a turn of the head key alone, or of a proposed document,
 * has its own name.
 *
 * @param folder - Of the journals.
 * @param turn - Name of the journal.
 */
export async function finishingCommand(folder: string, turn: string): Promise<string> {
  const facts = turn === 'identity' ? (await readTurn(folder, turn))?.facts : undefined
  if (facts?.['proposal'] !== undefined) return SEAL
  return facts?.['head_key'] === true && facts['release_key'] === false ? 'keyturn rotate head' : resumeCommand(turn)
}

/**
 * Says that a turn waits to be finished, and with which command.
 *
 * @param turn - Name of its journal.
 * @param command - Default: {@link resumeCommand}.
 */
export function turnPending(turn: string, command: string = resumeCommand(turn)): PublisherError {
  const what = turn === 'identity-key' ? 'A rotation of the identity alone' : `A turn of "${turn}"`
  return new PublisherError('CLI_TURN_PENDING', `${what} was interrupted`, {
    hint: `Run "${command}" to finish it, or "${command === SEAL ? resumeCommand('identity') : command} --abandon" while it has put nothing in force`,
    details: { turn, resume: command },
  })
}

/**
 * Refuses to make, sign or publish a release while a turn is half done: what it puts in force next would not be what was
 * signed, and the turn could not be finished behind it.
 *
 * @param paths - Of the home.
 * @throws {@link PublisherError} `CLI_TURN_PENDING`.
 */
export async function refuseWhileTurning(paths: HomePaths): Promise<void> {
  const pending = (await pendingTurns(paths.journals)).find((turn) => releaseTurns.includes(turn))
  if (pending !== undefined) throw turnPending(pending, await finishingCommand(paths.journals, pending))
}

/**
 * Refuses to begin or go on with a turn while a rival of it waits to be finished.
 *
 * @param paths - Of the home.
 * @param turn - The one that is wanted.
 * @throws {@link PublisherError} `CLI_TURN_PENDING`.
 */
export async function refuseRivals(paths: HomePaths, turn: string): Promise<void> {
  const rival = (await pendingTurns(paths.journals)).find((name) => name !== turn && rivals.includes(name))
  if (rival !== undefined) throw turnPending(rival, await finishingCommand(paths.journals, rival))
}
