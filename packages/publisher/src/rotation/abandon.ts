import { releaseIdentity } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { removeInside } from '../inside.ts'
import { rolesInForce } from '../release/store.ts'
import { contentRotation } from './content-state.ts'
import type { ContentState } from './content-state.ts'
import { identityRotation } from './identity-state.ts'
import type { IdentityState } from './identity-state.ts'
import { dropRotation, readRotation } from './journal.ts'
import type { Rotation, RotationRecord } from './journal.ts'
import { abandonKeyRotation, isKeyRotationBinding } from './key-rotation.ts'
import { keyRotation } from './key-state.ts'
import { resumeCommand } from './pending.ts'
import { transportRotation } from './transport-state.ts'

/** What is known of a rotation that was given up. */
export type AbandonedRotation = Pick<RotationRecord<unknown>, 'rotation' | 'startedMs' | 'done'>

/**
 * Gives up a rotation of the content key that was interrupted before anything of it was in force. Keys that it made stay
 * in their keystores, unpromised and unused; the next rotation uses them.
 *
 * @param home - Open home, locked.
 * @param dryRun - Look only.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when there is none, `CLI_TURN_PENDING` when it has gone too far.
 */
export async function abandonContent(home: HomeSession, dryRun: boolean): Promise<AbandonedRotation> {
  const { journals } = home.paths
  const record = await requireRotation(journals, contentRotation)
  if (isContentInForce(home, record)) throw tooFar(record, resumeCommand('content'))
  if (!dryRun) await dropRotation(journals, contentRotation.name)
  return record
}

/** As {@link abandonContent}, for a rotation of the release identity. */
export async function abandonIdentity(home: HomeSession, dryRun: boolean): Promise<AbandonedRotation> {
  const record = await requireRotation(home.paths.journals, identityRotation)
  const identity = releaseIdentity(home)
  if (await isKeyRotationBinding(identity, record)) throw tooFar(record, resumeCommand('identity'))
  if (dryRun) return record
  await dropDocument(home, record)
  await abandonKeyRotation(identity, record)
  return record
}

/**
 * As {@link abandonContent}, for a rotation of an identity's key alone.
 *
 * @param identity - Opened to be written.
 * @param dryRun - Look only.
 */
export async function abandonIdentityKey(identity: Identity, dryRun: boolean): Promise<AbandonedRotation> {
  const record = await requireRotation(identity.journals, keyRotation(identity))
  if (await isKeyRotationBinding(identity, record)) throw tooFar(record, 'keyturn id rotate')
  if (!dryRun) await abandonKeyRotation(identity, record)
  return record
}

/**
 * As {@link abandonContent}, for a change of the transport keys: what is stored may be published.
 *
 * @param folder - Of the journals.
 * @param dryRun - Look only.
 */
export async function abandonTransport(folder: string, dryRun: boolean): Promise<AbandonedRotation> {
  const record = await requireRotation(folder, transportRotation)
  if (record.done.includes('store')) throw tooFar(record, resumeCommand('transport'))
  if (!dryRun) await dropRotation(folder, transportRotation.name)
  return record
}

async function requireRotation<State>(folder: string, rotation: Rotation<State>): Promise<RotationRecord<State>> {
  const record = await readRotation(folder, rotation)
  if (record !== undefined) return record
  throw new PublisherError('CLI_TURN_UNREADY', `No rotation of "${rotation.name}" was interrupted`, {
    hint: 'Nothing has to be abandoned',
  })
}

function tooFar({ rotation, done }: AbandonedRotation, command: string): PublisherError {
  return new PublisherError(
    'CLI_TURN_PENDING',
    `The rotation of "${rotation}" has gone too far to be abandoned: step "${done.at(-1) ?? ''}" is finished`,
    { hint: `Run "${command}" to finish it` },
  )
}

function isContentInForce(home: HomeSession, { done, state: { terms } }: RotationRecord<ContentState>): boolean {
  return done.includes('home') || home.description.contentKeys.some(({ keyId }) => keyId === terms?.to)
}

/** The role document of a rotation that never was: no event seals it. */
async function dropDocument(home: HomeSession, { state: { terms } }: RotationRecord<IdentityState>): Promise<void> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  if (terms?.rolesVersion === document.version + 1) await removeInside(home.paths.roles, `${terms.rolesVersion}.json`)
}
