import { KeyturnError } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import { collectStatus } from '@keyturn/publisher/health'
import type { StatusItem } from '@keyturn/publisher/health'
import { openIdentity, refuseFrozen } from '@keyturn/publisher/identity'
import { rehearse, rotateNow } from '../id/rotate.ts'
import { withNextKey } from '../../flags/next-key.ts'
import { turnTransport } from '../noise/turn.ts'
import type { ContentFlags, IdentityFlags, IdentityTurnKind } from './index.ts'
import { turnVaultMasters } from './vault.ts'

interface AllFlags extends Omit<IdentityFlags, 'revoke' | 'channel'> {
  readonly due?: boolean
}

/** How the single turns are run; given by the module that owns them. */
export interface Turns {
  content(context: Context, flags: ContentFlags): Promise<CommandResult>
  identity(context: Context, flags: IdentityFlags, kind: IdentityTurnKind): Promise<CommandResult>
}

/** Registers `keyturn rotate all --due`. */
export function registerRotateAll(rotate: Command, cli: Cli, turns: Turns): void {
  const all = withNextKey(
    withServer(
      rotate
        .command('all')
        .description('finish every turn that was interrupted, then turn every key that is due, one after the other')
        .option('--due', 'required: only what is due')
        .option('--roles-days <n>', 'days until a new role document expires, at most 400', '365')
        .option('--local', 'publish nothing now'),
    ),
  )
  cli.define<AllFlags>(all, {
    example: ['keyturn rotate all --due --dry-run', 'keyturn rotate all --due --yes'],
    dryRun: true,
    run: (context, flags) => rotateAll(context, flags, turns),
  })
}

/** A turn that is to be run; `releaseKey` and `headKey` say what turns with the identity. */
interface WantedTurn {
  readonly name: 'identity-key' | 'identity' | 'content' | 'transport' | 'vault'
  readonly releaseKey: boolean
  readonly headKey: boolean
  /** Was interrupted: finished, whatever it is. */
  readonly finishOnly?: boolean
}

/** In this order: what is released later is signed by the keys that were turned before. */
const ORDER = ['identity-key', 'identity', 'content', 'transport', 'vault'] as const

interface Report {
  readonly due: readonly string[]
  readonly turned: readonly string[]
  readonly plans: Readonly<Record<string, JsonValue>>
  readonly texts: readonly string[]
}

async function rotateAll(context: Context, flags: AllFlags, turns: Turns): Promise<CommandResult> {
  if (flags.due !== true)
    throw new CliError('CLI_USAGE', 'Every key at once is turned only where it is due', {
      hint: 'Give --due; single keys turn with "keyturn rotate <key>"',
    })
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  const report = {
    due: [] as string[],
    turned: [] as string[],
    plans: {} as Record<string, JsonValue>,
    texts: [] as string[],
  }
  try {
    const { items, pending } = await collectStatus(await openHome(context), context.clock())
    // What was interrupted comes first: it is in the way of the others, and may be what is due.
    for (const turn of interrupted(pending)) await runOne(turn, context, flags, turns, report)
    const left =
      pending.length === 0 || context.dryRun
        ? items
        : (await collectStatus(await openHome(context), context.clock())).items
    const due = left.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
    report.due.push(...due.map(({ kind, id }) => `${kind} ${id}`))
    for (const turn of dueTurns(due))
      if (!context.dryRun || !report.turned.includes(turn.name)) await runOne(turn, context, flags, turns, report)
  } catch (error) {
    if (!(error instanceof KeyturnError) || report.turned.length === 0) throw error
    return { ...answer(report, context.dryRun), failure: error }
  }
  return answer(report, context.dryRun)
}

function answer({ due, turned, plans, texts }: Report, dryRun: boolean): CommandResult {
  return {
    data: { due: [...due], turned: [...turned], dry_run: dryRun, ...(dryRun ? { plans } : {}) },
    text: texts.length === 0 ? 'Nothing is due.' : texts.join('\n\n'),
  }
}

function interrupted(pending: readonly string[]): WantedTurn[] {
  return ORDER.filter((name) => pending.includes(name)).map((name) => ({
    name,
    releaseKey: true,
    headKey: false,
    finishOnly: true,
  }))
}

/** Identity, release and head turn together in one rotation; a document about to expire asks for one as well. */
function dueTurns(due: readonly StatusItem[]): WantedTurn[] {
  const kinds = new Set(due.map(({ kind }) => kind))
  const headKey = kinds.has('head')
  const releaseKey = kinds.has('release') || kinds.has('identity') || !headKey
  const isDue: Readonly<Record<WantedTurn['name'], boolean>> = {
    'identity-key': false,
    identity: ['identity', 'release', 'head', 'roles'].some((kind) => kinds.has(kind)),
    content: kinds.has('content'),
    transport: kinds.has('transport'),
    vault: kinds.has('master'),
  }
  return ORDER.filter((name) => isDue[name]).map((name) => ({ name, releaseKey, headKey }))
}

async function runOne(
  turn: WantedTurn,
  context: Context,
  flags: AllFlags,
  turns: Turns,
  report: { turned: string[]; plans: Record<string, JsonValue>; texts: string[] },
): Promise<void> {
  context.signal.throwIfAborted()
  context.out.step(turn.name, `${context.dryRun ? 'planning' : 'turning'}: ${turn.name}`)
  const { text, data } = await runTurnNamed(turn, context, flags, turns)
  report.turned.push(turn.name)
  report.plans[turn.name] = JSON.parse(JSON.stringify(data)) as JsonObject
  report.texts.push(`${turn.name}:\n${text ?? ''}`)
}

async function runTurnNamed(
  { name, releaseKey, headKey, finishOnly }: WantedTurn,
  context: Context,
  flags: AllFlags,
  turns: Turns,
): Promise<CommandResult> {
  switch (name) {
    case 'identity-key': {
      const identity = await openIdentity(context, {
        write: !context.dryRun,
        nextPassphraseFile: flags.nextPassphraseFile,
      })
      const files = flags.nextKeyFile === undefined ? {} : { nextKeyFile: [flags.nextKeyFile] }
      return context.dryRun ? await rehearse(identity, files) : await rotateNow(context, identity, files)
    }
    case 'identity':
      return await turns.identity(context, flags, {
        turn: 'identity',
        summary: '',
        releaseKey,
        headKey,
        finishOnly: finishOnly === true,
      })
    case 'content':
      return await turns.content(context, flags)
    case 'transport':
      return await turnTransport(context, {
        due: true,
        ...(flags.tokenFile === undefined ? {} : { tokenFile: flags.tokenFile }),
      })
    case 'vault':
      return await turnVaultMasters(context, flags)
  }
}
