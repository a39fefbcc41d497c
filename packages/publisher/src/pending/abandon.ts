import { aliasFlag, releaseIdentity } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { removeInside } from '../inside.ts'
import { rolesInForce } from '../records/store.ts'
import { contentRotation } from '../rotation/content-state.ts'
import type { ContentState } from '../rotation/content-state.ts'
import { identityRotation } from '../rotation/identity-state.ts'
import type { IdentityState } from '../rotation/identity-state.ts'
import { dropRotation, readRotation, setJournalAside } from '../rotation/journal.ts'
import type { Rotation, RotationRecord } from '../rotation/journal.ts'
import { abandonKeyRotation, isKeyRotationBinding } from '../rotation/key-rotation.ts'
import { keyRotation } from '../rotation/key-state.ts'
import { resumeCommand } from '../rotation/pending.ts'
import { settleIdentity, settleRoles } from '../rotation/settle.ts'
import { transportRotation } from '../rotation/transport-state.ts'

/** What is known of a rotation that was given up. */
export type AbandonedRotation = Pick<RotationRecord<unknown>, 'rotation' | 'startedMs' | 'done'>

/** How a rotation is given up. */
export interface AbandonOptions {
  /** Look only. */
  readonly dryRun: boolean
  readonly nowMs: number
}

/**
 * Gives up a rotation of the content key that was interrupted before anything of it was in force. Keys that it made
 * stay in their keystores, unpromised and unused; the next rotation uses them. A journal that cannot be read is put
 * aside: home and keystore alone say what is in force, and the next release uses it.
 *
 * @param home - Open home, locked.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when there is none, `CLI_TURN_PENDING` when it has gone too far.
 */
export async function abandonContent(home: HomeSession, options: AbandonOptions): Promise<AbandonedRotation> {
  const { journals } = home.paths
  return await orPutAside(journals, contentRotation, options, {
    abandon: async () => {
      const record = await requireRotation(journals, contentRotation)
      if (isContentInForce(home, record)) throw tooFar(record, resumeCommand('content'))
      if (!options.dryRun) await dropRotation(journals, contentRotation.name)
      return record
    },
  })
}

/**
 * As {@link abandonContent}, for a rotation of the release identity. Where its journal cannot be read, the log and the
 * role document it seals say which keys are in force.
 */
export async function abandonIdentity(home: HomeSession, options: AbandonOptions): Promise<AbandonedRotation> {
  const identity = releaseIdentity(home)
  const abandon = async (): Promise<AbandonedRotation> => {
    const record = await requireRotation(identity.journals, identityRotation)
    if (await isKeyRotationBinding(identity, record)) throw tooFar(record, resumeCommand('identity'))
    if (options.dryRun) return record
    await dropDocument(home, record)
    await abandonKeyRotation(identity, record)
    return record
  }
  return await orPutAside(identity.journals, identityRotation, options, {
    abandon,
    settle: async () => {
      await settleIdentity(identity, options.nowMs)
      await settleRoles(home)
    },
  })
}

/**
 * As {@link abandonIdentity}, for a rotation of an identity's key alone.
 *
 * @param identity - Opened to be written.
 */
export async function abandonIdentityKey(identity: Identity, options: AbandonOptions): Promise<AbandonedRotation> {
  const rotation = keyRotation(identity)
  const abandon = async (): Promise<AbandonedRotation> => {
    const record = await requireRotation(identity.journals, rotation)
    if (await isKeyRotationBinding(identity, record)) throw tooFar(record, `keyturn id rotate${aliasFlag(identity)}`)
    if (!options.dryRun) await abandonKeyRotation(identity, record)
    return record
  }
  return await orPutAside(identity.journals, rotation, options, {
    abandon,
    settle: () => settleIdentity(identity, options.nowMs),
  })
}

/**
 * As {@link abandonContent}, for a change of the transport keys: what is stored may be published.
 *
 * @param folder - Of the journals.
 */
export async function abandonTransport(folder: string, options: AbandonOptions): Promise<AbandonedRotation> {
  return await orPutAside(folder, transportRotation, options, {
    abandon: async () => {
      const record = await requireRotation(folder, transportRotation)
      if (record.done.includes('store')) throw tooFar(record, resumeCommand('transport'))
      if (!options.dryRun) await dropRotation(folder, transportRotation.name)
      return record
    },
  })
}

interface Abandoning {
  readonly abandon: () => Promise<AbandonedRotation>
  readonly settle?: () => Promise<void>
}

/** Gives a rotation up; a journal that cannot be read goes out of the way, after `settle` put things in order. */
async function orPutAside<State>(
  folder: string,
  rotation: Rotation<State>,
  { dryRun, nowMs }: AbandonOptions,
  { abandon, settle = () => Promise.resolve() }: Abandoning,
): Promise<AbandonedRotation> {
  try {
    return await abandon()
  } catch (error) {
    if (!(error instanceof PublisherError) || error.code !== 'CLI_TURN_JOURNAL') throw error
    if (!dryRun) {
      await settle()
      await setJournalAside(folder, rotation.name, nowMs)
    }
    return { rotation: rotation.name, startedMs: nowMs, done: [] }
  }
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
