import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseStrictJson } from '@keyturn/primitives'
import { isMissing, writeFileAtomic } from '@keyturn/primitives/node'
import { KelError } from '@keyturn/kel'
import { collectReceipts, discoverWitness, httpWitness } from '@keyturn/kel/witness'
import type { AppendResult, Kel, KeyState } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel/owner'
import type { CollectedReceipts, Witness } from '@keyturn/kel/witness'
import { PublisherError } from '../errors.ts'
import { aliasFlag, readOwnLog } from './identity.ts'
import type { Identity } from './identity.ts'

/** Where a witness is reached. */
export interface WitnessAddress {
  readonly prefix: string
  readonly url: string
}

type Place = Pick<Identity, 'logPath'>
/** How commands name it. */
type Named = Pick<Identity, 'kind' | 'alias'>
/** The same, with the log. */
type LogPlace = Pick<Identity, 'logPath' | 'log' | 'prefix' | 'repository' | 'kind' | 'alias'>

function bookPath({ logPath }: Place): string {
  return join(dirname(logPath), 'witnesses.json')
}

function isAddress(value: unknown): value is WitnessAddress {
  if (typeof value !== 'object' || value === null) return false
  const { prefix, url } = value as Record<string, unknown>
  return typeof prefix === 'string' && typeof url === 'string'
}

/** The witnesses whose address is written down beside the log. */
export async function readWitnesses(identity: Place): Promise<readonly WitnessAddress[]> {
  const path = bookPath(identity)
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    if (isMissing(cause)) return []
    throw cause
  }
  const value = parseStrictJson(bytes, { maxBytes: 64 * 1024 }) as Record<string, unknown> | null
  const list = value?.['witnesses']
  if (
    value?.['format'] !== 'keyturn-witnesses' ||
    value['version'] !== 1 ||
    !Array.isArray(list) ||
    !list.every(isAddress)
  ) {
    throw new PublisherError('CLI_HOME_FORMAT', `"${path}" is not a list of witnesses of version 1`)
  }
  return list
}

/** Writes the addresses down, whole or not at all. */
export async function writeWitnesses(identity: Place, witnesses: readonly WitnessAddress[]): Promise<void> {
  const text = `${JSON.stringify({ format: 'keyturn-witnesses', version: 1, witnesses }, null, 2)}\n`
  await writeFileAtomic(bookPath(identity), new TextEncoder().encode(text), { mode: 0o600 })
}

/** Clients of the witnesses that are written down; stop when the command is stopped. */
export async function openWitnesses(identity: Place, signal?: AbortSignal): Promise<readonly Witness[]> {
  return (await readWitnesses(identity)).map(({ prefix, url }) =>
    httpWitness(url, prefix, { fetch: stoppableFetch(signal) }),
  )
}

function stoppableFetch(signal: AbortSignal | undefined): typeof fetch {
  return (input, init) => {
    const signals = [signal, init?.signal].filter((one) => one !== undefined && one !== null)
    return fetch(input, { ...init, signal: AbortSignal.any(signals) })
  }
}

/**
 * Checks that as many witnesses answer as an event will need, before it is signed: a signed event that no witness
 * takes could neither be completed nor taken back.
 *
 * @param after - The state that the event will create.
 * @throws {@link KelError} `KEL_WITNESS`.
 */
export async function requireWitnesses(identity: Place & Named, after: KeyState, signal?: AbortSignal): Promise<void> {
  const needed = after.witnessThreshold
  if (needed === 0) return
  const known = (await readWitnesses(identity)).filter(({ prefix }) => after.witnesses.includes(prefix))
  const answers = await Promise.all(
    known.map(async ({ prefix, url }) => {
      const found = await discoverWitness(url, { fetch: stoppableFetch(signal) }).catch(() => undefined)
      signal?.throwIfAborted()
      return { url, answers: found?.prefix === prefix }
    }),
  )
  const answering = answers.filter(({ answers: isThere }) => isThere).length
  if (answering >= needed) return
  const silent = answers.filter(({ answers: isThere }) => !isThere).map(({ url }) => url)
  throw new KelError(
    'KEL_WITNESS',
    known.length < needed
      ? `The rotation needs ${needed} of ${after.witnesses.length} witnesses, and the address of ${known.length} is ` +
          'known'
      : `The rotation needs ${needed} witnesses, and ${answering} of ${known.length} answer`,
    {
      hint:
        known.length < needed
          ? `Nothing was signed. Write down where the witnesses are: keyturn id witness add URL${aliasFlag(identity)}`
          : `Nothing was signed. Run the same command when these answer: ${silent.join(', ')}`,
    },
  )
}

/** Why an event does not stand yet, with what each witness said. */
export function tooFewReceipts(
  identity: Named,
  sn: number,
  { signatures, threshold, answers }: CollectedReceipts,
): KelError {
  const others = answers
    .filter(({ outcome }) => outcome !== 'receipt')
    .map(({ prefix, outcome }) => `${prefix} ${outcome}`)
    .join(', ')
  return new KelError(
    'KEL_WITNESS',
    `Event ${sn} has ${signatures.size} of ${threshold} witness signatures needed${others === '' ? '' : `: ${others}`}`,
    {
      hint:
        answers.length === 0
          ? `Write down where the witnesses are: keyturn id witness add URL${aliasFlag(identity)}`
          : 'Run the same command again once the witnesses answer',
    },
  )
}

/**
 * Makes the function that completes a new event with receipts.
 *
 * @returns It throws {@link KelError} `KEL_WITNESS` when too few have signed.
 */
export async function receiptCollector(
  identity: LogPlace,
  signal?: AbortSignal,
): Promise<(event: SignedEvent) => Promise<Uint8Array>> {
  const witnesses = await openWitnesses(identity, signal)
  return async (event) => {
    const collected = await collectReceipts(event, witnesses, undefined, { log: await readOwnLog(identity) })
    if (!collected.satisfied) throw tooFewReceipts(identity, event.sn, collected)
    return collected.message
  }
}

/** Appends a new event to our log, with receipts where it demands some. */
export async function appendWitnessed(
  identity: LogPlace,
  kel: Kel,
  event: SignedEvent,
  signal: AbortSignal,
): Promise<AppendResult> {
  if (event.state.witnesses.length === 0) return await kel.append(event.message, 'local')
  return await kel.append(await (await receiptCollector(identity, signal))(event), 'local')
}
