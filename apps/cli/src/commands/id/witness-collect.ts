import { rm } from 'node:fs/promises'
import type { JsonObject } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { Kel } from '@keyturn/kel'
import { collectReceipts, writeReceipt } from '@keyturn/kel/witness'
import type { SignedEvent } from '@keyturn/kel/owner'
import type { CollectedReceipts } from '@keyturn/kel/witness'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { openIdentity, openOwnLog, openWitnesses, readOwnLog, tooFewReceipts } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { finishingCommand, finishingKeyCommand, pendingRotations, rotationPending } from '@keyturn/publisher/pending'
import type { WitnessOptions } from './witness-state.ts'
import { newIdentity } from './witness-state.ts'

/** Registers the command `collect`. */
export function registerIdWitnessCollect(witness: Command, cli: Cli): void {
  const collect = witness
    .command('collect')
    .description('ask the witnesses for receipts of the last event, verify them and put them into the log')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<WitnessOptions>(collect, { example: 'keyturn id witness collect', dryRun: true, run: runCollect })
}

/** The last event of a log as one to show around. */
function lastEvent(kel: Kel): SignedEvent {
  const { state } = kel
  const event = kel.events[state.sn]
  if (event === undefined) throw new CliError('CLI_INTERNAL', 'The log lacks its last event')
  return { prefix: kel.prefix, sn: event.sn, said: event.said, event: event.raw, message: event.message, state }
}

/** With fewer receipts than it needs, an inception goes on waiting in its file, wherever the log is going to be. */
async function keepInception(
  identity: Identity,
  event: SignedEvent,
  { message, satisfied }: CollectedReceipts,
): Promise<void> {
  if (identity.repository === undefined || !satisfied) return await writeFileAtomic(identity.logPath, message)
  await (await Kel.open(identity.log, event.prefix, { own: true })).append(message, 'local')
  await rm(identity.logPath)
}

/** Puts what came into the log: after a new inception, else as receipts. Returns how many are new. */
async function keep(
  identity: Identity,
  kel: Kel | undefined,
  event: SignedEvent,
  collected: CollectedReceipts,
): Promise<number> {
  if (kel === undefined) {
    await keepInception(identity, event, collected)
    return collected.answers.filter(({ outcome }) => outcome === 'receipt').length
  }
  const known = kel.witnessesOf(event.said)
  const fresh = [...collected.signatures].filter(([place]) => !known.has(place))
  for (const [place, signature] of fresh)
    await kel.append(writeReceipt(event, event.state.witnesses[place] ?? '', signature), 'local')
  return fresh.length
}

async function runCollect(context: Context, options: WitnessOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, { ...options, write: !context.dryRun })
  const pending = await pendingRotations(identity.journals)
  if (pending.includes(identity.journal))
    throw rotationPending(identity.journal, await finishingKeyCommand(identity, identity.journal))
  if (identity.kind === 'release' && pending.includes('identity'))
    throw rotationPending('identity', await finishingCommand(identity.journals, 'identity'))
  const stored = await readOwnLog(identity)
  const started = newIdentity(stored)
  const kel = started === undefined ? await openOwnLog(identity) : undefined
  const event = kel === undefined ? (started as SignedEvent) : lastEvent(kel)
  if (event.state.witnesses.length === 0)
    return { data: { sn: event.sn, satisfied: true, answers: [] }, text: 'This identity has no witnesses' }
  const log = kel === undefined ? new Uint8Array(0) : stored
  const collected = await collectReceipts(event, await openWitnesses(identity, context.signal), undefined, { log })
  const added = context.dryRun ? 0 : await keep(identity, kel, event, collected)
  const signed = new Set([...collected.signatures.keys(), ...(kel?.witnessesOf(event.said).keys() ?? [])]).size
  const satisfied = signed >= event.state.witnessThreshold
  const answers: JsonObject[] = collected.answers.map(({ prefix, outcome, code, explanation }) => ({
    prefix,
    outcome,
    code: code ?? null,
    explanation,
  }))
  return {
    data: {
      prefix: event.prefix,
      sn: event.sn,
      said: event.said,
      signed,
      threshold: event.state.witnessThreshold,
      satisfied,
      added,
      answers,
    },
    text: [
      formatTable(collected.answers.map(({ prefix, outcome, explanation }) => [prefix, outcome, explanation])),
      `Event ${event.sn} has ${signed} of ${event.state.witnessThreshold} witness signatures needed`,
    ].join('\n'),
    failure: satisfied ? undefined : tooFewReceipts(identity, event.sn, collected),
  }
}
