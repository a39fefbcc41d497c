import { readFile } from 'node:fs/promises'
import type { JsonObject } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { checkStream, collectReceipts, discoverWitness, readSignedEvent, writeReceipt } from '@keyturn/kel'
import type { CollectedReceipts, Kel, SignedEvent } from '@keyturn/kel'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import {
  openIdentity,
  openOwnLog,
  openWitnesses,
  readWitnesses,
  tooFewReceipts,
  writeWitnesses,
} from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { finishingCommand, readTurn, turnPending } from '@keyturn/publisher/rotation'

interface WitnessOptions {
  readonly alias?: string
}

/** Registers `keyturn id witness …`. */
export function registerIdWitness(id: Command, cli: Cli): void {
  const witness = id.command('witness').description('the witnesses of an identity: where they are, and their receipts')
  const alias = ['--alias <name>', 'an identity made by "id init", by the alias of its current key'] as const
  const add = witness
    .command('add <url>')
    .description('write down where a witness is; of a release server: https://…/witness')
    .option(...alias)
  cli.define<WitnessOptions>(add, {
    example: 'keyturn id witness add https://updates.example.org/witness',
    run: runAdd,
  })
  const list = witness
    .command('list')
    .description('the witnesses whose address is known, and whether the log names them')
    .option(...alias)
  cli.define<WitnessOptions>(list, { example: 'keyturn id witness list --json', run: runList })
  const collect = witness
    .command('collect')
    .description('ask the witnesses for receipts of the last event, verify them and put them into the log')
    .option(...alias)
  cli.define<WitnessOptions>(collect, { example: 'keyturn id witness collect', dryRun: true, run: runCollect })
}

/** An identity whose witnesses have not signed its inception: the event alone, not yet a log. */
function newIdentity(stored: Uint8Array): SignedEvent | undefined {
  const {
    messages: [first, ...more],
  } = checkStream(stored)
  return first?.verdict === 'escrow:partial-witness' && more.length === 0
    ? readSignedEvent(stored, undefined)
    : undefined
}

async function namedWitnesses(identity: Identity): Promise<readonly string[]> {
  const event = newIdentity(await readFile(identity.logPath))
  return (event ?? (await openOwnLog(identity))).state.witnesses
}

async function runAdd(
  context: Context,
  options: WitnessOptions,
  [url = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  if (!URL.canParse(url) || !/^https?:/.test(url))
    throw new CliError('CLI_USAGE', 'The address of a witness looks like https://updates.example.org/witness')
  const identity = await openIdentity(context, { ...options, write: true })
  const { prefix } = await discoverWitness(url)
  const others = (await readWitnesses(identity)).filter((known) => known.prefix !== prefix)
  await writeWitnesses(identity, [...others, { prefix, url }])
  const named = (await namedWitnesses(identity)).includes(prefix)
  return {
    data: { prefix, url, named },
    text: `Witness ${prefix} is at ${url}${named ? '' : `\nThe log does not name it yet: keyturn id rotate --add-witness ${prefix}`}`,
  }
}

async function runList(context: Context, options: WitnessOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, options)
  const known = await readWitnesses(identity)
  const named = await namedWitnesses(identity)
  const prefixes = [...new Set([...named, ...known.map(({ prefix }) => prefix)])]
  const witnesses = prefixes.map((prefix) => ({
    prefix,
    url: known.find((other) => other.prefix === prefix)?.url ?? null,
    named: named.includes(prefix),
  }))
  return {
    data: { witnesses },
    text:
      witnesses.length === 0
        ? 'No witnesses'
        : formatTable(
            witnesses.map(({ prefix, url, named: isNamed }) => [
              prefix,
              url ?? 'address not known',
              isNamed ? 'named by the log' : 'not named by the log',
            ]),
          ),
  }
}

/** The last event of a log as one to show around. */
function lastEvent(kel: Kel): SignedEvent {
  const { state } = kel
  const event = kel.events[state.sn]
  if (event === undefined) throw new CliError('CLI_INTERNAL', 'The log lacks its last event')
  return { prefix: kel.prefix, sn: event.sn, said: event.said, event: event.raw, message: event.message, state }
}

/** Puts what came into the log: behind a new inception, else as receipts. Returns how many are new. */
async function keep(
  identity: Identity,
  kel: Kel | undefined,
  event: SignedEvent,
  collected: CollectedReceipts,
): Promise<number> {
  if (kel === undefined) {
    await writeFileAtomic(identity.logPath, collected.message)
    return collected.answers.filter(({ outcome }) => outcome === 'receipt').length
  }
  const known = kel.witnessesOf(event.said)
  const fresh = [...collected.signatures].filter(([place]) => !known.has(place))
  for (const [place, signature] of fresh)
    await kel.append(writeReceipt(event, event.state.witnesses[place] ?? '', signature))
  return fresh.length
}

async function runCollect(context: Context, options: WitnessOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, { ...options, write: !context.dryRun })
  if ((await readTurn(identity.journals, identity.turn)) !== undefined) {
    throw turnPending(identity.turn, 'keyturn id rotate')
  }
  if (identity.kind === 'release' && (await readTurn(identity.journals, 'identity')) !== undefined)
    throw turnPending('identity', await finishingCommand(identity.journals, 'identity'))
  const stored = await readFile(identity.logPath)
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
    failure: satisfied ? undefined : tooFewReceipts(event.sn, collected),
  }
}
