import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { collectStatus, type StatusItem } from '../health/collect-status.ts'
import { openHome } from '../publisher/home-session.ts'
import { turnTransport } from './noise-turn.ts'
import { withServer } from './release-client.ts'
import type { ContentFlags, IdentityFlags, IdentityTurnKind } from './rotate.ts'

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
  const all = withServer(rotate
    .command('all')
    .description('turn every key that is due, one after the other')
    .option('--due', 'required: only what is due')
    .option('--next-key-file <file>', 'where the file with the next identity key is now (default: where the home says)')
    .option('--next-passphrase-file <file>', 'passphrase of the file with the next identity key, when it has its own')
    .option('--roles-days <n>', 'days until a new role document expires, at most 400', '365')
    .option('--local', 'publish nothing now'))
  cli.define<AllFlags>(all, { example: 'keyturn rotate all --due --dry-run', dryRun: true, run: (context, flags) => rotateAll(context, flags, turns) })
}

async function rotateAll(context: Context, flags: AllFlags, turns: Turns): Promise<CommandResult> {
  if (flags.due !== true) throw new CliError('CLI_USAGE', 'Every key at once is turned only where it is due', { hint: 'Give --due; single keys turn with "keyturn rotate <key>"' })
  const { items, pending } = await collectStatus(await openHome(context), context.clock())
  const due = items.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
  const wanted = turnsOf(due, pending)
  const done: string[] = []
  const texts: string[] = []
  for (const turn of wanted) {
    context.signal.throwIfAborted()
    const { text } = await runTurnNamed(turn, context, flags, turns)
    done.push(turn.name)
    texts.push(`${turn.name}:\n${text ?? ''}`)
  }
  return {
    data: { due: due.map(({ kind, id }) => `${kind} ${id}`), turned: done, dry_run: context.dryRun },
    text: texts.length === 0 ? 'Nothing is due.' : texts.join('\n\n'),
  }
}

interface WantedTurn extends Omit<IdentityTurnKind, 'turn' | 'summary'> {
  readonly name: 'content' | 'identity' | 'transport'
}

/** Identity, release and head turn together in one rotation; a document about to expire asks for one as well. */
function turnsOf(due: readonly StatusItem[], pending: readonly string[]): WantedTurn[] {
  const kinds = new Set(due.map(({ kind }) => kind))
  const wanted: WantedTurn[] = []
  const releaseKey = kinds.has('release') || kinds.has('identity')
  const headKey = kinds.has('head')
  if (releaseKey || headKey || kinds.has('roles') || pending.includes('identity')) wanted.push({ name: 'identity', releaseKey: releaseKey || !headKey, headKey })
  if (kinds.has('content') || pending.includes('content')) wanted.push({ name: 'content', releaseKey: false, headKey: false })
  if (kinds.has('transport')) wanted.push({ name: 'transport', releaseKey: false, headKey: false })
  return wanted
}

async function runTurnNamed(turn: WantedTurn, context: Context, flags: AllFlags, turns: Turns): Promise<CommandResult> {
  if (turn.name === 'content') return await turns.content(context, flags)
  if (turn.name === 'transport') return await turnTransport(context, { due: true })
  return await turns.identity(context, flags, { turn: 'identity', summary: '', releaseKey: turn.releaseKey, headKey: turn.headKey })
}
