import { readFile } from 'node:fs/promises'
import { KeyturnError, wipe } from '@keyturn/primitives'
import {
  activeKey,
  addKey,
  afterPublication,
  cutOver,
  deriveX25519Static,
  nextDeviceId,
  nextKey,
  planRotation,
  publish as publishKeys,
  readSigningAnswer,
  retire,
  revoke,
  transportPublicKey,
} from '@keyturn/noise-keys'
import type { KeyDirectory, NewKey, PlanAction, RevocationReason, TransportMetadata } from '@keyturn/noise-keys'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { dateText } from './dates.ts'
import { refuseFrozen } from '@keyturn/publisher/identity'
import {
  abandonTransport,
  dropTurn,
  metadataAfter,
  readTurn,
  runHomeTurn,
  transportTurnSteps,
} from '@keyturn/publisher/rotation'
import type { TransportChange, TurnRecord } from '@keyturn/publisher/rotation'
import {
  directoryOf,
  nowSeconds,
  openTransport,
  transportPolicy,
  writableDirectoriesOf,
} from '@keyturn/publisher/transport'
import type { TransportHome } from '@keyturn/publisher/transport'
import { keysData, keysText } from './keys-table.ts'

interface PlaceOptions {
  readonly to?: readonly string[]
  readonly tokenFile?: string
  readonly handOver?: boolean
}
interface PublishOptions extends PlaceOptions {
  readonly device: string
  readonly request?: string
  readonly answer?: string
}
interface RotateOptions extends PlaceOptions {
  readonly now?: boolean
  readonly due?: boolean
  readonly abandon?: boolean
}
interface RevokeOptions extends PlaceOptions {
  readonly reason: string
  readonly replace?: boolean
}

const ROTATE_STEPS: readonly PlanAction[] = ['announce-next', 'cut-over', 'retire', 'refresh']
const REASONS: readonly RevocationReason[] = ['compromise', 'lost', 'superseded', 'retired', 'unspecified']
/** What a server, a folder or a freeze may answer; a mistyped passphrase is no reason to leave a change behind. */
const PLACE_FAILED = /^(?:SRV_|NK_|CLI_NETWORK$|KEL_FROZEN$)/
const TO = [
  '--to <place>',
  "a release server's address or a folder; may be given several times. Default: the home's own folder and server",
] as const
const HAND_OVER = [
  '--hand-over',
  'give the secrets of current keys to the release servers it publishes to, now and at every later turn',
] as const
const TOKEN = [
  '--token-file <file>',
  'file with the access token of the release server; default: as "keyturn release publish"',
] as const

/** Registers `keyturn noise publish`. */
export function registerNoisePublish(noise: Command, cli: Cli): void {
  const publish = noise
    .command('publish')
    .description('publish records, key list and packet; the first time with a first key')
    .option(...TO, collect)
    .option(...TOKEN)
    .option(...HAND_OVER)
    .option('--device <id>', 'device id of the first key', 'server')
    .option('--request <file>', 'a signing request, with --answer')
    .option('--answer <file>', 'its answer: publishes what is dated up to now, needs no key here')
  cli.define<PublishOptions>(publish, {
    example: [
      'keyturn noise publish --to https://updates.example',
      'keyturn noise publish --request r.json --answer a.json',
    ],
    dryRun: true,
    run: runPublish,
  })
}

/** Registers `keyturn noise rotate`. */
export function registerNoiseRotate(noise: Command, cli: Cli): void {
  registerTransportTurn(noise.command('rotate'), 'keyturn noise rotate', cli)
}

/** Registers `keyturn rotate transport`: the same turn under the name it has among the others. */
export function registerRotateTransport(rotate: Command, cli: Cli): void {
  registerTransportTurn(rotate.command('transport'), 'keyturn rotate transport', cli)
}

function registerTransportTurn(command: Command, name: string, cli: Cli): void {
  command
    .description('take the next step of a turn: announce the next key, cut over to it, retire the old one')
    .option(...TO, collect)
    .option(...TOKEN)
    .option(...HAND_OVER)
    .option(
      '--now',
      'cut over without waiting until caches know the next key; for a stolen key see "noise revoke --replace"',
    )
    .option('--due', 'only what the plan says is due: for cron')
    .option('--abandon', 'give up an interrupted change of the transport keys of which nothing is published yet')
  cli.define<RotateOptions>(command, {
    example: [name, `${name} --due`, `${name} --now --dry-run`],
    dryRun: true,
    run: turnTransport,
  })
}

/** Registers `keyturn noise revoke`. */
export function registerNoiseRevoke(noise: Command, cli: Cli): void {
  const command = noise
    .command('revoke')
    .description('revoke the key of a device, at once and for good')
    .argument('<device>', 'device id')
    .option(...TO, collect)
    .option(...TOKEN)
    .option(...HAND_OVER)
    .option('--reason <why>', `one of ${REASONS.join(', ')}`, 'compromise')
    .option('--replace', 'publish a fresh key in its place')
  cli.define<RevokeOptions>(command, {
    example: 'keyturn noise revoke laptop --reason lost --replace --yes',
    dryRun: true,
    run: runRevoke,
  })
}

async function runPublish(context: Context, options: PublishOptions): Promise<CommandResult> {
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  if (options.request !== undefined || options.answer !== undefined) return await publishAnswer(context, options)
  const home = await openSettled(context, options)
  return await change(
    context,
    home,
    options,
    async () => {
      const hasKey = activeKey(home.metadata) !== undefined || nextKey(home.metadata) !== undefined
      const metadata = hasKey
        ? home.metadata
        : addKey(home.metadata, await deriveKey(home, unusedDevice(home.metadata, options.device)), nowSeconds(context))
      return { metadata, did: 'published', order: 'turn', asked: 'publish' }
    },
    'turn',
  )
}

function stepAsked({ now }: RotateOptions): string {
  return now === true ? 'rotate --now' : 'rotate'
}

function revocationAsked(device: string, { reason, replace }: RevokeOptions): string {
  return `revoke ${device} --reason ${reason}${replace === true ? ' --replace' : ''}`
}

/** Whether an interrupted change is the one that is asked for; it goes to the places that are named now. */
function covers(pending: TurnRecord | undefined, asked: string, { handOver }: PlaceOptions): boolean {
  if (pending === undefined) return false
  const { done, facts } = pending
  if (!done.includes('plan')) return true
  return facts['asked'] === asked && (handOver !== true || facts['hand_over'] === true || !done.includes('hand-over'))
}

/** Takes the next step of a turn of the transport key, or with `due` only what the plan says is due. */
export async function turnTransport(context: Context, options: RotateOptions): Promise<CommandResult> {
  let home = await openTransport(context, { write: true })
  if (options.abandon === true) return await abandon(context, home)
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  const pending = await readTurn(home.paths.journals, 'transport')
  const finished = await finishPending(context, home, options)
  // By the clock the step that was interrupted is the one that was due; asked for by hand, only the same one counts.
  if (
    finished !== undefined &&
    (context.dryRun || options.due === true || covers(pending, stepAsked(options), options))
  )
    return finished
  if (finished !== undefined) home = await openTransport(context, { write: true })
  const nowS = nowSeconds(context)
  if (activeKey(home.metadata) === undefined)
    throw new CliError('CLI_TURN_UNREADY', 'No transport key is active', { hint: 'Run "keyturn noise publish"' })
  const plan = planRotation(home.metadata, transportPolicy(home.session.description, home.metadata), nowS)
  const due = new Set(plan.steps.filter((step) => step.due).map(({ action }) => action))
  if (options.due === true && !ROTATE_STEPS.some((action) => due.has(action))) {
    return {
      data: { identity: home.metadata.identity, did: 'nothing', keys: keysData(home.metadata) },
      text: 'nothing is due',
    }
  }
  return await change(
    context,
    home,
    options,
    async () => {
      const { metadata, did } = await takeStep(home, options, due, nowS)
      return { metadata, did: did.join('; '), order: 'turn', asked: stepAsked(options) }
    },
    'turn',
  )
}

/** Retires what is over; announces the next key, or cuts over to the one that was announced long enough. */
async function takeStep(
  home: TransportHome,
  options: RotateOptions,
  due: ReadonlySet<PlanAction>,
  nowS: number,
): Promise<{ metadata: TransportMetadata; did: string[] }> {
  const { metadata: retired, retired: gone } = retire(home.metadata, nowS)
  const did = gone.map(({ device }) => `retired ${device}`)
  const active = activeKey(retired)?.device ?? ''
  const waiting = nextKey(retired)
  // Asked for by hand it is the next step; by the clock only when its time has come.
  const announces =
    waiting === undefined &&
    (due.has('announce-next') || options.now === true || (options.due !== true && gone.length === 0))
  let metadata = retired
  if (announces) {
    metadata = addKey(retired, await deriveKey(home, nextDeviceId(retired, active)), nowS)
    did.push(`announced ${nextKey(metadata)?.device}, to be used from ${dateText(nextKey(metadata)?.activeFromS)}`)
  }
  const next = nextKey(metadata)
  const ripe =
    waiting !== undefined && (waiting.activeFromS ?? 0) <= nowS && (options.due !== true || due.has('cut-over'))
  if (next !== undefined && (options.now === true || ripe)) {
    metadata = cutOver(metadata, nowS)
    return {
      metadata,
      did: [
        ...gone.map(({ device }) => `retired ${device}`),
        `cut over to ${next.device}; ${active} answers until ${dateText(nowS + metadata.policy.overlapS)}`,
      ],
    }
  }
  if (did.length === 0)
    did.push(
      next === undefined
        ? 'published again'
        : `waits: ${next.device} is announced, to be used from ${dateText(next.activeFromS)}`,
    )
  return { metadata, did }
}

async function runRevoke(
  context: Context,
  options: RevokeOptions,
  [device = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const reason = REASONS.find((word) => word === options.reason)
  if (reason === undefined) throw new CliError('CLI_USAGE', `--reason is none of ${REASONS.join(', ')}`)
  const pending = await readTurn((await openTransport(context)).paths.journals, 'transport')
  const finished = covers(pending, revocationAsked(device, options), options)
    ? await finishPending(context, await openTransport(context, { write: true }), options)
    : undefined
  if (finished !== undefined) return finished
  const home = await openToRevoke(context, options, (metadata) => {
    revoke(metadata, device, reason, nowSeconds(context))
  })
  const nowS = nowSeconds(context)
  const revoked = revoke(home.metadata, device, reason, nowS)
  const replace = options.replace === true
  if (!context.dryRun)
    await context.ask.confirm(`Revoke the key of "${device}" for good${replace ? ' and publish a new one' : ''}?`)
  return await change(
    context,
    home,
    options,
    async () => {
      const metadata = replace ? await replaceKey(home, revoked, device, nowS) : revoked
      const next = activeKey(metadata)
      return {
        metadata,
        did: `revoked ${device}; ${next === undefined ? 'no key is active now' : `${next.device} is active`}`,
        order: 'revocation',
        asked: revocationAsked(device, options),
      }
    },
    'revocation',
  )
}

/** The announced key steps in where there is one; else a new one is derived. */
async function replaceKey(
  home: TransportHome,
  metadata: TransportMetadata,
  device: string,
  nowS: number,
): Promise<TransportMetadata> {
  if (activeKey(metadata) !== undefined) return metadata
  if (nextKey(metadata) !== undefined) return cutOver(metadata, nowS, 'superseded')
  return addKey(metadata, await deriveKey(home, nextDeviceId(metadata, device)), nowS)
}

/** By default context and device id are one string, as deployed readers have it. */
async function deriveKey(home: TransportHome, device: string): Promise<NewKey> {
  return await home.withSeed((seed) => {
    const secret = deriveX25519Static(seed, device)
    try {
      return { device, publicKey: transportPublicKey(secret), generation: 'G2' as const }
    } finally {
      wipe(secret)
    }
  })
}

function unusedDevice(metadata: TransportMetadata, device: string): string {
  return metadata.keys.some((key) => key.device === device) ? nextDeviceId(metadata, device) : device
}

/** Runs a change through the journal of the transport turn, and tells what it came to. */
async function change(
  context: Context,
  home: TransportHome,
  places: PlaceOptions,
  work: () => Promise<TransportChange>,
  order: TransportChange['order'],
): Promise<CommandResult> {
  if (context.dryRun) {
    const { metadata, did } = await work()
    return {
      data: { dry_run: true, identity: metadata.identity, would: did, keys: keysData(metadata) },
      text: `would: ${did}\n\n${keysText(metadata)}`,
    }
  }
  const { facts, resumed } = await runHomeTurn(
    context,
    home.paths,
    'transport',
    transportTurnSteps(context, home, places, work, order),
  )
  const after = metadataAfter(facts)
  const did = String(facts['did'])
  return {
    data: {
      identity: after.identity,
      did,
      published_to: facts['published_to'],
      handed_to: facts['handed_to'],
      not_handed_to: facts['not_handed_to'],
      list: after.list?.seq,
      keys: keysData(after),
      resumed,
    },
    text: `${resumed ? 'finished what was interrupted: ' : ''}${did}\n\n${keysText(after)}`,
  }
}

/** Opens the transport keys; what was interrupted goes out first, as its sequence numbers are the lower ones. */
async function openSettled(context: Context, places: PlaceOptions): Promise<TransportHome> {
  const home = await openTransport(context, { write: true })
  return (await finishPending(context, home, places)) === undefined
    ? home
    : await openTransport(context, { write: true })
}

/**
 * As {@link openSettled}, for a revocation: what cannot be finished now is left behind. Of a change that was not stored
 * nothing went out; one that was is in the metadata, and what is signed next says it again under higher numbers.
 */
async function openToRevoke(
  context: Context,
  places: PlaceOptions,
  check: (metadata: TransportMetadata) => void,
): Promise<TransportHome> {
  const interrupted = (await readTurn((await openTransport(context)).paths.journals, 'transport'))?.facts['order']
  try {
    // Frozen, a home revokes and turns nothing on schedule.
    if (interrupted === 'turn' && !context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
    return await openSettled(context, places)
  } catch (error) {
    const home = await openTransport(context, { write: true })
    const pending = await readTurn(home.paths.journals, 'transport')
    if (
      !(error instanceof KeyturnError) ||
      !PLACE_FAILED.test(error.code) ||
      pending === undefined ||
      context.signal.aborted
    )
      throw error
    check(home.metadata)
    const what = pending.done.includes('store')
      ? 'goes out with this revocation'
      : 'is given up, nothing of it was published'
    context.out.warn(
      `what was interrupted cannot be finished (${error.message}) and ${what}: ${String(pending.facts['did'])}`,
    )
    await dropTurn(home.paths.journals, 'transport')
    return home
  }
}

async function abandon(context: Context, home: TransportHome): Promise<CommandResult> {
  if (!context.dryRun) await context.ask.confirm('Give up the interrupted change of the transport keys?')
  const { started, done } = await abandonTransport(home.paths.journals, context.dryRun)
  return {
    data: { abandoned: 'transport', started, done: [...done], dry_run: context.dryRun },
    text: `${context.dryRun ? 'Would give up' : 'Gave up'} the change of the transport keys that began at ${started}; nothing of it is published.`,
  }
}

/** Finishes a change that was interrupted; undefined when there is none. */
async function finishPending(
  context: Context,
  home: TransportHome,
  places: PlaceOptions,
): Promise<CommandResult | undefined> {
  const pending = await readTurn(home.paths.journals, 'transport')
  if (pending === undefined) return undefined
  if (context.dryRun) {
    const did = String(pending.facts['did'])
    return { data: { dry_run: true, would: did, pending: true }, text: `would finish what was interrupted: ${did}` }
  }
  return await change(
    context,
    home,
    places,
    () => Promise.reject(new CliError('CLI_TURN_JOURNAL', 'Journal of the transport turn lacks its plan')),
    pending.facts['order'] === 'revocation' ? 'revocation' : 'turn',
  )
}

async function publishAnswer(context: Context, options: PublishOptions): Promise<CommandResult> {
  if (options.request === undefined || options.answer === undefined)
    throw new CliError('CLI_USAGE', '--request and --answer go together')
  const home = await openTransport(context, { write: true })
  const nowS = nowSeconds(context)
  const all = readSigningAnswer(await readFile(options.request), await readFile(options.answer))
  const due = all.filter(({ atS, identity }) => atS <= nowS && identity === home.metadata.identity)
  const last = due.at(-1)
  const later = all.filter(({ atS }) => atS > nowS).map(({ atS }) => dateText(atS))
  if (last === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Nothing in the answer is due for ${home.metadata.identity}`, {
      hint: `The next is dated ${later[0] ?? 'nowhere'}`,
    })
  const after = afterPublication(home.metadata, last)
  const data = { identity: last.identity, signed_for: dateText(last.atS), still_to_come: later, list: after.list?.seq }
  if (!context.dryRun) {
    const directory: KeyDirectory = directoryOf(
      await writableDirectoriesOf(context, options.to, { session: home.session, tokenFile: options.tokenFile }),
    )
    await home.store(after)
    await publishKeys(
      directory,
      last,
      [...last.records.values()].some((text) => text.includes(';st=revoked;')) ? 'revocation' : 'turn',
    )
  }
  return {
    data,
    text: `${context.dryRun ? 'would publish' : 'published'} what was signed for ${dateText(last.atS)}; ${later.length} still to come`,
  }
}
