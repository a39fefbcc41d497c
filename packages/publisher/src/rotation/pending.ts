import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'
import { aliasFlag } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { identityRotation } from './identity-state.ts'
import { pendingRotations, readRotation } from './journal.ts'

const SEAL = 'keyturn roles seal'

/** The command that finishes a rotation of a home, by the name of its journal. */
const RESUME_COMMANDS: Readonly<Record<string, string>> = {
  content: 'keyturn rotate content',
  identity: 'keyturn rotate identity',
  'identity-key': 'keyturn id rotate',
  transport: 'keyturn rotate transport',
  vault: 'keyturn rotate vault',
}

/** Rotations that change the key of the release identity. */
const KEY_ROTATIONS: readonly string[] = ['identity', 'identity-key']
/** Rotations that change what releases are made of, or who may sign them. */
const RELEASE_ROTATIONS: readonly string[] = ['content', 'identity']
/** Rotations that share keys and files: one is finished before another begins. */
const RIVALS: readonly string[] = [...RELEASE_ROTATIONS, 'identity-key']

/**
 * The command that finishes a rotation.
 *
 * @param name - Of its journal.
 */
export function resumeCommand(name: string): string {
  return RESUME_COMMANDS[name] ?? `keyturn rotate ${name}`
}

/**
 * The command that finishes an interrupted rotation and does no more: a rotation of the head key alone, or of a
 * proposed document, has its own name.
 *
 * @param folder - Of the journals.
 * @param name - Of the journal.
 */
export async function finishingCommand(folder: string, name: string): Promise<string> {
  if (name !== identityRotation.name) return resumeCommand(name)
  try {
    const terms = (await readRotation(folder, identityRotation))?.state.terms
    if (terms?.proposal !== undefined) return SEAL
    return terms?.headKey === true && terms.releaseKey === false ? 'keyturn rotate head' : resumeCommand(name)
  } catch (error) {
    // Of a journal that cannot be read the command itself says what is wrong, and what to do.
    if (error instanceof PublisherError && error.code === 'CLI_TURN_JOURNAL') return resumeCommand(name)
    throw error
  }
}

/**
 * Says that a rotation waits to be finished, and with which command.
 *
 * @param name - Of its journal.
 * @param command - Default: {@link resumeCommand}.
 */
export function rotationPending(name: string, command: string = resumeCommand(name)): PublisherError {
  const what = name === 'identity-key' ? 'A rotation of the identity alone' : `A rotation of "${name}"`
  return new PublisherError('CLI_TURN_PENDING', `${what} was interrupted`, {
    hint:
      `Run "${command}" to finish it, or "${command === SEAL ? resumeCommand('identity') : command} --abandon" ` +
      'while it has put nothing in force',
    details: { turn: name, resume: command },
  })
}

/**
 * The command that finishes an interrupted rotation of an identity, a named one by its alias.
 *
 * @param name - Of the journal.
 */
export async function finishingKeyCommand(
  identity: Pick<Identity, 'kind' | 'alias' | 'journals'>,
  name: string,
): Promise<string> {
  if (identity.kind === 'named') return `keyturn id rotate${aliasFlag(identity)}`
  return await finishingCommand(identity.journals, name)
}

/**
 * Refuses to sign with a key whose rotation was begun: what the rotation seals is fixed, so nothing could vouch for the
 * signature once the key is retired.
 *
 * @throws {@link PublisherError} `CLI_TURN_PENDING`.
 */
export async function refuseWhileKeyRotates(
  identity: Pick<Identity, 'kind' | 'alias' | 'journals' | 'journal'>,
): Promise<void> {
  const own = identity.kind === 'release' ? KEY_ROTATIONS : [identity.journal]
  const pending = (await pendingRotations(identity.journals)).find((name) => own.includes(name))
  if (pending !== undefined) throw rotationPending(pending, await finishingKeyCommand(identity, pending))
}

/**
 * Refuses to make, sign or publish a release while a rotation is half done: what it puts in force next would not be
 * what was signed, and the rotation could not be finished after it.
 *
 * @param paths - Of the home.
 * @throws {@link PublisherError} `CLI_TURN_PENDING`.
 */
export async function refuseWhileRotating(paths: HomePaths): Promise<void> {
  const pending = (await pendingRotations(paths.journals)).find((name) => RELEASE_ROTATIONS.includes(name))
  if (pending !== undefined) throw rotationPending(pending, await finishingCommand(paths.journals, pending))
}

/**
 * Refuses to begin or go on with a rotation while a rival of it waits to be finished.
 *
 * @param paths - Of the home.
 * @param name - The one that is wanted.
 * @throws {@link PublisherError} `CLI_TURN_PENDING`.
 */
export async function refuseRivals(paths: HomePaths, name: string): Promise<void> {
  const rival = (await pendingRotations(paths.journals)).find((other) => other !== name && RIVALS.includes(other))
  if (rival !== undefined) throw rotationPending(rival, await finishingCommand(paths.journals, rival))
}
