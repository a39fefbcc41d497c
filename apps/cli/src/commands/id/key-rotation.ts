import type { DigestSeal, KeyState } from '@keyturn/kel'
import { KelError } from '@keyturn/kel'
import type { JsonObject } from '@keyturn/primitives'
import { openHome } from '@keyturn/publisher'
import { keepReason, openOwnLog, receiptCollector } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { requireFresh } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import { abandonIdentityKey, finishingCommand, pendingRotations, rotationPending } from '@keyturn/publisher/pending'
import { checkKeyRotation, keyRotation, keyRotationSteps, previewRotation } from '@keyturn/publisher/rotation'
import type { KeyRotationPlan, KeyRotationState, RotationPreview, RotationRecord } from '@keyturn/publisher/rotation'
import type { CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { finishedText } from '../rotate/run-rotation.ts'
import type { PlannedRotation, RotationCommand, RotationOutcome } from '../rotate/run-rotation.ts'
import { stateJson } from './json.ts'
import { asksForTerms, nextKeyFiles, rotationCovers, rotationTerms } from './rotation-terms.ts'
import type { RotateOptions } from './rotation-terms.ts'

/** How a rotation of an identity's key relates to others that were interrupted. */
export interface KeyRotationOrder {
  /** It takes precedence over all others: what is not signed yet is abandoned. */
  readonly isEmergency?: boolean | undefined
}

/** A rotation of an identity's key, and what it works on. */
interface Work {
  readonly context: Context
  readonly identity: Identity
  readonly options: RotateOptions
}

/**
 * A rotation of an identity's key alone.
 *
 * @param identity - Opened to be written, unless it is a dry run.
 */
export function keyRotationCommand(
  context: Context,
  identity: Identity,
  options: RotateOptions,
  { isEmergency = false }: KeyRotationOrder = {},
): RotationCommand<KeyRotationState> {
  const work = { context, identity, options }
  const choices = { nextKeyAlias: options.nextKeyAlias, nextKeyFiles: nextKeyFiles(options), signal: context.signal }
  return {
    rotation: keyRotation(identity),
    folder: identity.journals,
    describe: () => 'rotation of the identity alone',
    async refuse(pending) {
      const { journals } = identity
      if (identity.kind === 'release' && !isEmergency && (await pendingRotations(journals)).includes('identity'))
        throw rotationPending('identity', await finishingCommand(journals, 'identity'))
      if (identity.kind === 'release' && !context.dryRun) {
        const home = await openHome(context)
        await requireFresh(context, home, { client: await openKnownClient({}, home), warnOnly: isEmergency })
      }
      await checkKeyRotation(identity, choices, pending, await rotationTerms(identity, options))
    },
    covers: (pending) => rotationCovers(identity, pending, options),
    // What nobody has signed yet binds nobody: other flags replace it, and an emergency does not wait for it.
    replaces: async (pending) =>
      pending.state.event === undefined &&
      (isEmergency || (asksForTerms(options) && !(await rotationCovers(identity, pending, options)))),
    plan: (pending) => plan(work, pending),
    abandon: (dryRun) => abandonIdentityKey(identity, { dryRun, nowMs: context.clock() }),
  }
}

async function plan(
  work: Work,
  pending: RotationRecord<KeyRotationState> | undefined,
): Promise<PlannedRotation<KeyRotationState>> {
  const { context, identity, options } = work
  const before = (await openOwnLog(identity)).state
  const isNew = pending?.state.made === undefined
  const reason =
    options.reason === undefined || !isNew || context.dryRun
      ? []
      : [await keepReason(identity, options.reason, context.clock)]
  const terms = await rotationTerms(identity, options, reason)
  const rotation: KeyRotationPlan = {
    terms: () => terms,
    nowMs: context.clock(),
    nextKeyAlias: options.nextKeyAlias,
    nextKeyFiles: nextKeyFiles(options),
    signal: context.signal,
    collect: async (event) => (await receiptCollector(identity, context.signal))(event),
  }
  return {
    steps: keyRotationSteps(identity, rotation),
    preview: async () => previewResult(await previewRotation(identity, terms, nextKeyFiles(options))),
    report: (outcome) => report(work, { before, reason: reason[0] }, outcome),
  }
}

/** What a dry run says: the key state before and after, and which promised keys were at hand. */
function previewResult(preview: RotationPreview): CommandResult {
  const { before, after, event, revealed } = preview
  const data: JsonObject = {
    dry_run: true,
    before: stateJson(before),
    after: stateJson(after),
    revealed: [...revealed],
    event_bytes: event.message.length,
  }
  return {
    data,
    text: [
      'Dry run: the next key opens, it is the one that was promised, and readers accept the rotation signed with ' +
        'it. Nothing was written.',
      formatTable([
        ['', 'now', 'after the rotation'],
        ['event', String(before.sn), `${after.sn}`],
        ['keys in force', keysText(before), keysText(after)],
        ['promised keys', String(before.nextDigests.length), `${after.nextDigests.length} (new)`],
        [
          'witnesses',
          `${before.witnessThreshold} of ${before.witnesses.length}`,
          `${after.witnessThreshold} of ${after.witnesses.length}`,
        ],
      ]),
    ].join('\n'),
  }
}

function keysText(state: KeyState): string {
  return state.keys.join(', ')
}

async function report(
  { identity, options }: Work,
  { before, reason }: { readonly before: KeyState; readonly reason: DigestSeal | undefined },
  { state: done, resumed, first }: RotationOutcome<KeyRotationState>,
): Promise<CommandResult> {
  const { state } = await openOwnLog(identity)
  const { event, staged } = done
  if (event === undefined || staged === undefined || state.sn < event.sn)
    throw new KelError('KEL_CORRUPT', 'The rotation is not in the log that it was appended to')
  const keptAt = nextKeyFiles(options) ?? identity.next.map(({ file }) => file)
  return {
    data: {
      prefix: identity.prefix,
      sn: event.sn,
      said: event.said,
      alias: staged.alias,
      resumed,
      finished: first,
      old_keys: [...before.keys],
      keys: [...state.keys],
      next_key_files: keptAt,
      reason_sealed: reason?.d,
    },
    text: [
      `${finishedText(first)}${resumed ? 'Finished the interrupted rotation' : 'Rotated'}: event ${event.sn}, ` +
        `${event.said}`,
      formatTable([
        ['identity', `did:keri:${identity.prefix} (unchanged)`],
        ['key in force', `${keysText(state)}, alias ${staged.alias}`],
        ['promised', state.nextDigests.join(', ')],
        ...keptAt.map((file) => ['next key', file]),
      ]),
    ].join('\n'),
  }
}
