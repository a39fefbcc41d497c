import { KeyturnError } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { openHome } from '@keyturn/publisher'
import { collectStatus } from '@keyturn/publisher/health'
import type { StatusItem } from '@keyturn/publisher/health'
import { openIdentity, refuseFrozen } from '@keyturn/publisher/identity'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { withNextKey } from '../../flags/next-key.ts'
import { withServer } from '../../flags/server.ts'
import { keyRotationCommand } from '../id/key-rotation.ts'
import { openTransportRotation } from '../noise/rotate.ts'
import { openContentRotation } from './content.ts'
import { openIdentityRotation } from './identity.ts'
import type { IdentityFlags } from './identity.ts'
import { runRotation } from './run-rotation.ts'
import { runTransportIdentity } from './transport-identity.ts'
import { openVaultRotation } from './vault.ts'

interface AllFlags extends Omit<IdentityFlags, 'revoke' | 'channel'> {
  readonly due?: boolean | undefined
}

/** Registers `keyturn rotate all --due`. */
export function registerRotateAll(rotate: Command, cli: Cli): void {
  const all = withNextKey(
    withServer(
      rotate
        .command('all')
        .description('finish every rotation that was interrupted, then rotate every key that is due, one by one')
        .option('--due', 'required: only what is due')
        .option('--roles-days <n>', 'days until a new role document expires, at most 400', '365')
        .option('--local', 'publish nothing now'),
    ),
  )
  cli.define<AllFlags>(all, {
    example: ['keyturn rotate all --due --dry-run', 'keyturn rotate all --due --yes'],
    dryRun: true,
    run: rotateAll,
  })
}

/** In this order: what is released later is signed by the keys that were rotated before. */
const ORDER = ['identity-key', 'identity', 'transport-identity', 'content', 'transport', 'vault'] as const

/** A rotation that is to be run; `releaseKey` and `headKey` say what rotates with the identity. */
interface WantedRotation {
  readonly name: (typeof ORDER)[number]
  readonly releaseKey: boolean
  readonly headKey: boolean
  /** Was interrupted: finished, whatever it is. */
  readonly finishOnly?: boolean
}

interface Report {
  readonly due: string[]
  readonly rotated: string[]
  readonly plans: Record<string, JsonValue>
  readonly texts: string[]
}

async function rotateAll(context: Context, flags: AllFlags): Promise<CommandResult> {
  if (flags.due !== true)
    throw new CliError('CLI_USAGE', '"rotate all" only rotates keys that are due', {
      hint: 'Give --due; single keys rotate with "keyturn rotate <key>"',
    })
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  const report: Report = { due: [], rotated: [], plans: {}, texts: [] }
  try {
    const { items, pending } = await collectStatus(await openHome(context), context.clock())
    // What was interrupted comes first: it is in the way of the others, and may be what is due.
    for (const wanted of interrupted(pending)) await runOne(wanted, context, flags, report)
    const left =
      pending.length === 0 || context.dryRun
        ? items
        : (await collectStatus(await openHome(context), context.clock())).items
    const due = left.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
    report.due.push(...due.map(({ kind, id }) => `${kind} ${id}`))
    for (const wanted of dueRotations(due))
      if (!context.dryRun || !report.rotated.includes(wanted.name)) await runOne(wanted, context, flags, report)
  } catch (error) {
    if (!(error instanceof KeyturnError) || report.rotated.length === 0) throw error
    return { ...answer(report, context.dryRun), failure: error }
  }
  return answer(report, context.dryRun)
}

function answer({ due, rotated, plans, texts }: Report, dryRun: boolean): CommandResult {
  return {
    data: { due: [...due], turned: [...rotated], dry_run: dryRun, ...(dryRun ? { plans } : {}) },
    text: texts.length === 0 ? 'Nothing is due.' : texts.join('\n\n'),
  }
}

function interrupted(pending: readonly string[]): WantedRotation[] {
  return ORDER.filter((name) => pending.includes(name)).map((name) => ({
    name,
    releaseKey: true,
    headKey: false,
    finishOnly: true,
  }))
}

/** Identity, release and head rotate together; a document about to expire asks for one as well. */
function dueRotations(due: readonly StatusItem[]): WantedRotation[] {
  const kinds = new Set(due.map(({ kind }) => kind))
  const headKey = kinds.has('head')
  const releaseKey = kinds.has('release') || kinds.has('identity') || !headKey
  const isDue: Readonly<Record<WantedRotation['name'], boolean>> = {
    'identity-key': false,
    identity: ['identity', 'release', 'head', 'roles'].some((kind) => kinds.has(kind)),
    'transport-identity': kinds.has('transport-identity'),
    // The archive signing key rotates with the content key, which looks whether it is due.
    content: kinds.has('content') || kinds.has('archive-signing'),
    transport: kinds.has('transport'),
    vault: kinds.has('master'),
  }
  return ORDER.filter((name) => isDue[name]).map((name) => ({ name, releaseKey, headKey }))
}

async function runOne(wanted: WantedRotation, context: Context, flags: AllFlags, report: Report): Promise<void> {
  context.signal.throwIfAborted()
  context.out.step(wanted.name, `${context.dryRun ? 'planning' : 'rotating'}: ${wanted.name}`)
  const { text, data } = await runNamed(wanted, context, flags)
  report.rotated.push(wanted.name)
  report.plans[wanted.name] = JSON.parse(JSON.stringify(data)) as JsonObject
  report.texts.push(`${wanted.name}:\n${text ?? ''}`)
}

async function runNamed(wanted: WantedRotation, context: Context, flags: AllFlags): Promise<CommandResult> {
  const { name, releaseKey, headKey, finishOnly } = wanted
  switch (name) {
    case 'identity-key': {
      const identity = await openIdentity(context, {
        write: !context.dryRun,
        nextPassphraseFile: flags.nextPassphraseFile,
      })
      const options = { nextKeyFile: flags.nextKeyFile === undefined ? undefined : [flags.nextKeyFile] }
      return await runRotation(context, keyRotationCommand(context, identity, options), {})
    }
    case 'transport-identity':
      return await runTransportIdentity(context, flags)
    case 'identity': {
      const kind = { name: 'identity' as const, releaseKey, headKey }
      return await runRotation(context, await openIdentityRotation(context, flags, kind), { finishOnly })
    }
    case 'content':
      return await runRotation(context, await openContentRotation(context, flags), {})
    case 'transport':
      return await runRotation(
        context,
        await openTransportRotation(context, {
          due: true,
          tokenFile: flags.tokenFile,
        }),
        {},
      )
    case 'vault':
      return await runRotation(context, await openVaultRotation(context, flags), {})
  }
}
