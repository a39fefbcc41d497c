import { printable, wipe } from '@keyturn/primitives'
import { deriveX25519Static, nextDeviceId, transportPublicKey } from '@keyturn/noise-keys/owner'
import type { NewKey, TransportMetadata } from '@keyturn/noise-keys/owner'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { abandonTransport } from '@keyturn/publisher/pending'
import { metadataAfter, transportRotation, transportRotationSteps } from '@keyturn/publisher/rotation'
import type { RotationRecord, TransportChange, TransportOrder, TransportState } from '@keyturn/publisher/rotation'
import { notifyContacts, openTransport, readContacts } from '@keyturn/publisher/transport'
import type { TransportHome } from '@keyturn/publisher/transport'
import type { Command } from 'commander'
import type { CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import type { PlannedRotation, RotationCommand, RotationOutcome } from '../rotate/run-rotation.ts'
import { keysData, keysText } from './keys-table.ts'

/** Flags that say where transport keys are published. */
export interface PlaceOptions {
  readonly to?: readonly string[] | undefined
  readonly tokenFile?: string | undefined
  readonly handOver?: boolean | undefined
}

/** Adds the flags of {@link PlaceOptions}. */
export function withPlaces(command: Command): Command {
  return command
    .option(
      '--to <place>',
      "a release server's address or a folder; may be given several times. Default: the home's own folder and server",
      collect,
    )
    .option(
      '--token-file <file>',
      'file with the access token of the release server; default: as "keyturn release publish"',
    )
    .option(
      '--hand-over',
      'give the secrets of current keys to the release servers it publishes to, now and at every later rotation',
    )
}

/** By default context and device id are one string, as deployed readers have it. */
export async function deriveKey(home: TransportHome, device: string): Promise<NewKey> {
  return await home.withSeed((seed) => {
    const secret = deriveX25519Static(seed, device)
    try {
      return { device, publicKey: transportPublicKey(secret), generation: 'G2' as const }
    } finally {
      wipe(secret)
    }
  })
}

/** A device id that no key has had yet. */
export function unusedDevice(metadata: TransportMetadata, device: string): string {
  return metadata.keys.some((key) => key.device === device) ? nextDeviceId(metadata, device) : device
}

/** What a command wants of the transport keys. */
export interface WantedChange {
  readonly order: TransportOrder
  /** Whether an interrupted change is the wanted one; it goes to the places that are named now. */
  covers(pending: RotationRecord<TransportState>): boolean
  /** Works the change out; undefined when nothing is to be done. */
  work(home: TransportHome): Promise<TransportChange | undefined>
  readonly question?: string | undefined
}

/** Whether an interrupted change was asked for in the same words. */
export function isSameChange(
  { done, state: { terms } }: RotationRecord<TransportState>,
  asked: string,
  { handOver }: PlaceOptions,
): boolean {
  if (terms === undefined) return true
  return terms.asked === asked && (handOver !== true || terms.handOver || !done.includes('hand-over'))
}

/** Opens the home for a change of its transport keys. */
export async function openTransportChange(
  context: Context,
  places: PlaceOptions,
  wanted: WantedChange,
): Promise<RotationCommand<TransportState>> {
  const open = (): Promise<TransportHome> => openTransport(context, { write: true })
  const { paths } = await open()
  return {
    rotation: transportRotation,
    folder: paths.journals,
    describe: ({ terms }) => terms?.did ?? 'a change of the transport keys',
    async refuse() {
      if (!context.dryRun && wanted.order !== 'revocation') await refuseFrozen(context.homeFolder, context.clock)
    },
    covers: (pending) => wanted.covers(pending),
    async plan(pending) {
      const home = await open()
      if (pending !== undefined) return planFinish(context, home, places, pending)
      const change = await wanted.work(home)
      if (change !== undefined) return planChange({ host: context, home, places, question: wanted.question }, change)
      return {
        data: { identity: home.metadata.identity, did: 'nothing', keys: keysData(home.metadata) },
        text: 'nothing is due',
      }
    },
    abandon: (dryRun) => abandonTransport(paths.journals, { dryRun, nowMs: context.clock() }),
  }
}

function planFinish(
  host: Context,
  home: TransportHome,
  places: PlaceOptions,
  { state: { terms } }: RotationRecord<TransportState>,
): PlannedRotation<TransportState> {
  const change = (): Promise<never> =>
    Promise.reject(new CliError('CLI_TURN_JOURNAL', 'The journal of the transport keys has no plan'))
  return {
    steps: transportRotationSteps({ host, home, places, change, order: terms?.order ?? 'turn' }),
    preview: () => ({
      data: { dry_run: true, would: terms?.did, pending: true },
      text: `would finish what was interrupted: ${terms?.did ?? ''}`,
    }),
    report: (outcome) => report(host, home, outcome),
  }
}

interface ChangeScene {
  readonly host: Context
  readonly home: TransportHome
  readonly places: PlaceOptions
  readonly question: string | undefined
}

function planChange(
  { host, home, places, question }: ChangeScene,
  change: TransportChange,
): PlannedRotation<TransportState> {
  const { metadata, did, order } = change
  return {
    steps: transportRotationSteps({ host, home, places, change: () => Promise.resolve(change), order }),
    question,
    preview: (first) =>
      first === undefined
        ? {
            data: { dry_run: true, identity: metadata.identity, would: did, keys: keysData(metadata) },
            text: `would: ${did}\n\n${keysText(metadata)}`,
          }
        : {
            data: { dry_run: true, would: first, pending: true },
            text: `would finish what was interrupted: ${first}`,
          },
    report: (outcome) => report(host, home, outcome),
  }
}

async function report(
  host: Context,
  home: TransportHome,
  { state, resumed }: RotationOutcome<TransportState>,
): Promise<CommandResult> {
  const after = metadataAfter(state)
  const did = state.terms?.did ?? ''
  const order = state.terms?.order ?? 'turn'
  const contacts = await readContacts(home.paths)
  const notified = await notifyContacts(host, contacts, { metadata: after, did, order })
  for (const { contact, problem } of notified)
    if (problem !== undefined) host.out.warn(`${printable(contact, 200)} was not notified: ${problem}`)
  return {
    data: {
      identity: after.identity,
      did,
      published_to: listOf(state.publishedTo),
      handed_to: listOf(state.handedTo),
      not_handed_to: listOf(state.notHandedTo),
      list: after.list?.seq,
      keys: keysData(after),
      notified:
        contacts.length === 0
          ? undefined
          : notified.map(({ contact, problem }) => ({ contact, problem: problem ?? null })),
      resumed,
    },
    text: `${resumed ? 'finished what was interrupted: ' : ''}${did}\n\n${keysText(after)}`,
  }
}

function listOf(names: readonly string[] | undefined): string[] | undefined {
  return names === undefined ? undefined : [...names]
}
