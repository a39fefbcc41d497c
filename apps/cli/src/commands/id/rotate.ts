import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { JsonObject } from '@keyturn/primitives'
import { KelError, sha256Seal } from '@keyturn/kel'
import type { KeyState, Seal } from '@keyturn/kel'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { keepReason, openIdentity, openOwnLog, readReasons, receiptCollector } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import {
  abandonRotation,
  describeTurn,
  finishingCommand,
  previewRotation,
  readTurn,
  rotateIdentity,
  termsOf,
  turnPending,
} from '@keyturn/publisher/rotation'
import type { KeyTurnPlan, RotationPreview, RotationTerms, TurnOptions, TurnRecord } from '@keyturn/publisher/rotation'
import { stateJson } from './json.ts'
import { readCommit } from '../git-notes.ts'

/** Flags that every command that rotates an identity understands. */
export interface RotateOptions {
  readonly alias?: string
  readonly currentKeyAlias?: string
  readonly nextKeyAlias?: string
  readonly nextKeyFile?: readonly string[]
  readonly nextPassphraseFile?: string
  readonly addWitness?: readonly string[]
  readonly removeWitness?: readonly string[]
  readonly witnessesRequired?: string
  readonly reason?: string
  /** Repositories whose tip the rotation seals. */
  readonly sealTip?: readonly string[]
  readonly abandon?: boolean
}

/** Adds the flags that tell where promised keys are, and why they are wanted now. */
export function withNextKeys(command: Command): Command {
  return command
    .option('--next-key-file <file>', 'file with a promised key, repeatable', collect)
    .option('--next-passphrase-file <file>', 'another passphrase for the files with next keys')
    .option('--reason <text>', 'why; the text is kept here, its digest is sealed in the log')
}

/** Registers `keyturn id rotate`. */
export function registerIdRotate(id: Command, cli: Cli): void {
  const command = withNextKeys(
    id
      .command('rotate')
      .description('put the promised next key into force and promise a new one')
      .option('--alias <name>', 'alias of the current key')
      .option('--current-key-alias <name>', 'the same as --alias')
      .option('--next-key-alias <name>', 'alias of the key that comes into force')
      .option('--add-witness <prefix>', 'add a witness, repeatable', collect)
      .option('--remove-witness <prefix>', 'remove a witness, repeatable', collect)
      .option('--witnesses-required <n>', 'how many witnesses must sign from now on')
      .option(
        '--seal-tip <repo>',
        'seal the tip of a git repository: proves the place of every commit before it, repeatable',
        collect,
      )
      .option('--abandon', 'give up an interrupted rotation that is not in force yet'),
  )
  cli.define<RotateOptions>(command, {
    example: [
      'keyturn id rotate --next-key-file /media/usb/next.keystore',
      'keyturn id rotate --alias laptop --next-key-alias laptop-v2 --dry-run',
    ],
    dryRun: true,
    run: runRotate,
  })
}

/** The alias that was asked for: two flags, one meaning. */
function currentAlias({ alias, currentKeyAlias }: RotateOptions): string | undefined {
  if (alias !== undefined && currentKeyAlias !== undefined)
    throw new CliError('CLI_USAGE', '--alias and --current-key-alias mean the same: give one of them')
  return alias ?? currentKeyAlias
}

/** The anchors a rotation must carry: on a release identity the role document in force, sealed again. */
export async function standingSeals(identity: Identity): Promise<readonly Seal[]> {
  if (identity.kind !== 'release') return []
  const kel = await openOwnLog(identity)
  const [roles] = kel.events[kel.state.lastEstablishment.sn]?.seals ?? []
  if (typeof roles !== 'object' || roles === null || Array.isArray(roles) || typeof roles['d'] !== 'string') {
    throw new CliError('CLI_TURN_UNREADY', 'The log of the release identity seals no role document')
  }
  return [{ d: roles['d'] }]
}

/** What a rotation says, from its flags. */
async function rotationTerms(
  identity: Identity,
  options: RotateOptions,
  extra: readonly Seal[] = [],
): Promise<RotationTerms> {
  const required = options.witnessesRequired === undefined ? undefined : Number(options.witnessesRequired)
  if (required !== undefined && (!Number.isInteger(required) || required < 0))
    throw new CliError('CLI_USAGE', '--witnesses-required wants a whole number')
  const tips = await Promise.all(
    (options.sealTip ?? []).map(async (repo) => sha256Seal((await readCommit(repo, 'HEAD')).digest)),
  )
  return {
    seals: [...(await standingSeals(identity)), ...tips, ...extra],
    addWitnesses: options.addWitness,
    removeWitnesses: options.removeWitness,
    witnessThreshold: required,
  }
}

/** Files with next keys that the flags name. */
function nextKeyFiles(options: RotateOptions): string[] | undefined {
  return options.nextKeyFile?.map((file) => resolve(file))
}

function keysText(state: KeyState): string {
  return state.keys.join(', ')
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
      'Dry run: the next key opens, is the one that was promised, and the rotation signed with it stands. Nothing was written.',
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

/** Tries everything of a rotation and writes nothing. */
export async function rehearse(identity: Identity, options: RotateOptions): Promise<CommandResult> {
  return previewResult(await previewRotation(identity, await rotationTerms(identity, options), nextKeyFiles(options)))
}

function observed(context: Context): Pick<TurnOptions, 'onStep' | 'signal'> {
  return { onStep: (step) => context.out.step(step.name, step.title), signal: context.signal }
}

function planOf(context: Context, identity: Identity, options: RotateOptions, terms: RotationTerms): KeyTurnPlan {
  return {
    terms: () => terms,
    nowMs: context.clock(),
    nextKeyFiles: nextKeyFiles(options),
    collect: async (event) => (await receiptCollector(identity, context.signal))(event),
  }
}

/** Whether an interrupted rotation says what is wanted: nothing that was asked for may be dropped in silence. */
async function rotationCovers(
  identity: Identity,
  { done, facts }: TurnRecord,
  options: RotateOptions,
): Promise<boolean> {
  if (!done.includes('identity-make')) return true
  const { seals, addWitnesses, removeWitnesses, witnessThreshold } = termsOf(facts['identity_terms'])
  const wanted = await rotationTerms(identity, options)
  const has = (all: readonly string[] | undefined, some: readonly string[] | undefined): boolean =>
    (some ?? []).every((word) => all?.includes(word) === true)
  const digests = (list: readonly Seal[]): string[] =>
    list.flatMap((seal) => ('d' in seal && typeof seal.d === 'string' ? [seal.d] : []))
  const reasons = await readReasons(identity)
  return (
    has(addWitnesses, wanted.addWitnesses) &&
    has(removeWitnesses, wanted.removeWitnesses) &&
    (wanted.witnessThreshold === undefined || wanted.witnessThreshold === witnessThreshold) &&
    (options.nextKeyAlias === undefined || options.nextKeyAlias === facts['identity_next_alias']) &&
    (options.reason === undefined || digests(seals).some((digest) => reasons.get(digest)?.reason === options.reason)) &&
    has(digests(seals), digests(wanted.seals))
  )
}

/** Finishes a rotation as it began. */
async function finishRotation(context: Context, identity: Identity, options: RotateOptions): Promise<void> {
  await rotateIdentity(identity, planOf(context, identity, options, { seals: [] }), observed(context))
  context.out.step('finished', 'finished what was interrupted')
}

/** Rotates, and says what is left to do; what was interrupted is finished first, or alone where it is what is wanted. */
export async function rotateNow(context: Context, identity: Identity, options: RotateOptions): Promise<CommandResult> {
  if (identity.kind === 'release' && (await readTurn(identity.journals, 'identity')) !== undefined)
    throw turnPending('identity', await finishingCommand(identity.journals, 'identity'))
  const pending = await readTurn(identity.journals, identity.turn)
  const before = (await openOwnLog(identity)).state
  const first = pending !== undefined && !(await rotationCovers(identity, pending, options)) ? pending : undefined
  if (first !== undefined) await finishRotation(context, identity, options)
  const isTakenUp = pending?.done.includes('identity-make') === true && first === undefined
  const reason =
    options.reason === undefined || isTakenUp ? [] : [await keepReason(identity, options.reason, context.clock)]
  const terms = await rotationTerms(identity, options, reason)
  const done = await rotateIdentity(
    identity,
    { ...planOf(context, identity, options, terms), nextKeyAlias: options.nextKeyAlias },
    observed(context),
  )
  const { state } = await openOwnLog(identity)
  if (state.sn < done.sn) throw new KelError('KEL_CORRUPT', 'The rotation is not in the log it was appended to')
  const keptAt = nextKeyFiles(options) ?? identity.next.map(({ file }) => file)
  return {
    data: {
      prefix: identity.prefix,
      sn: done.sn,
      said: done.said,
      alias: done.alias,
      resumed: done.resumed,
      finished: first === undefined ? undefined : describeTurn(first),
      old_keys: [...before.keys],
      keys: [...state.keys],
      next_key_files: keptAt,
      reason_sealed: reason[0]?.d,
    },
    text: [
      ...(first === undefined ? [] : [`finished what was interrupted: ${describeTurn(first)}`]),
      `${done.resumed ? 'Finished the interrupted rotation' : 'Rotated'}: event ${done.sn}, ${done.said}`,
      formatTable([
        ['identity', `did:keri:${identity.prefix} (unchanged)`],
        ['key in force', `${keysText(state)}, alias ${done.alias}`],
        ['promised', state.nextDigests.join(', ')],
        ...keptAt.map((file) => ['next key', file]),
      ]),
      ...(identity.kind === 'release'
        ? ['', 'Publish the log: keyturn release publish. What is installed stays; nothing has to be downloaded again.']
        : []),
    ].join('\n'),
  }
}

async function runRotate(context: Context, options: RotateOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, {
    alias: currentAlias(options),
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  if (options.abandon === true) return await abandon(context, identity)
  return context.dryRun ? await rehearse(identity, options) : await rotateNow(context, identity, options)
}

async function abandon(context: Context, identity: Identity): Promise<CommandResult> {
  if (!context.dryRun) await context.ask.confirm('Give up the interrupted rotation?')
  const { started, done } = await abandonRotation(identity, context.dryRun)
  return {
    data: { abandoned: identity.turn, started, done: [...done], dry_run: context.dryRun },
    text: `${context.dryRun ? 'Would give up' : 'Gave up'} the rotation that began at ${started}; the log is as it was.`,
  }
}
