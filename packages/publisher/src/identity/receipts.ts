import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseStrictJson } from '@keyturn/primitives'
import { isMissing, writeFileAtomic } from '@keyturn/primitives/node'
import { collectReceipts, httpWitness, KelError } from '@keyturn/kel'
import type { AppendResult, CollectedReceipts, Kel, SignedEvent, Witness } from '@keyturn/kel'
import { PublisherError } from '../errors.ts'
import type { Identity } from './identity.ts'

/** Where a witness is reached. */
export interface WitnessAddress {
  readonly prefix: string
  readonly url: string
}

type Place = Pick<Identity, 'logPath'>

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
  const stoppable: typeof fetch = (input, init) => {
    const signals = [signal, init?.signal].filter((one) => one !== undefined && one !== null)
    return fetch(input, { ...init, signal: AbortSignal.any(signals) })
  }
  return (await readWitnesses(identity)).map(({ prefix, url }) => httpWitness(url, prefix, { fetch: stoppable }))
}

/** Why an event does not stand yet, with what each witness said. */
export function tooFewReceipts(sn: number, { signatures, threshold, answers }: CollectedReceipts): KelError {
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
          ? 'Write down where the witnesses are: keyturn id witness add URL'
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
  identity: Place,
  signal?: AbortSignal,
): Promise<(event: SignedEvent) => Promise<Uint8Array>> {
  const witnesses = await openWitnesses(identity, signal)
  return async (event) => {
    const collected = await collectReceipts(event, witnesses, undefined, { log: await readFile(identity.logPath) })
    if (!collected.satisfied) throw tooFewReceipts(event.sn, collected)
    return collected.message
  }
}

/** Appends a new event to our log, with receipts where it demands some. */
export async function appendWitnessed(
  identity: Place,
  kel: Kel,
  event: SignedEvent,
  signal: AbortSignal,
): Promise<AppendResult> {
  if (event.state.witnesses.length === 0) return await kel.append(event.message, 'local')
  return await kel.append(await (await receiptCollector(identity, signal))(event), 'local')
}
