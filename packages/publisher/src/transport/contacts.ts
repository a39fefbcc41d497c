import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord, parseStrictJson, printable, utf8Encode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { PublisherError } from '../errors.ts'
import type { HomePaths } from '../home.ts'
import { readIfThere } from '../records/store.ts'
import type { PublisherHost } from '../session.ts'

/** Who is notified when a transport key rotates or is revoked: an address, or a program of the owner's. */
export type Contact =
  | { readonly kind: 'webhook'; readonly url: string }
  | { readonly kind: 'command'; readonly program: string; readonly args: readonly string[] }

/** What became of one notification. */
export interface Notified {
  /** The contact as people name it. */
  readonly contact: string
  /** Why it was not notified; undefined when it was. */
  readonly problem: string | undefined
}

const FILE = 'contacts.json'
const MAX_CONTACTS = 64
/** How long a contact may take, milliseconds: the rotation is over by then, and nobody waits for it. */
const PATIENCE_MS = 10_000

/** How a contact is named. */
export function contactName(contact: Contact): string {
  return contact.kind === 'webhook' ? contact.url : [contact.program, ...contact.args].join(' ')
}

/** The contacts of a home. @throws {@link PublisherError} `CLI_HOME_FORMAT`. */
export async function readContacts(paths: Pick<HomePaths, 'transport'>): Promise<readonly Contact[]> {
  const bytes = await readIfThere(join(paths.transport, FILE))
  if (bytes === undefined) return []
  const value: unknown = parseStrictJson(bytes, { maxBytes: 256 * 1024 })
  const contacts = isRecord(value) && value['format'] === 'keyturn-contacts' ? value['contacts'] : undefined
  if (Array.isArray(contacts) && contacts.length <= MAX_CONTACTS && contacts.every(isContact)) return contacts
  throw new PublisherError('CLI_HOME_FORMAT', `"${join(paths.transport, FILE)}" is not a list of contacts`)
}

function isContact(value: unknown): value is Contact {
  if (!isRecord(value)) return false
  const { kind, url, program, args } = value
  if (kind === 'webhook') return typeof url === 'string' && isWebAddress(url)
  const isText = (one: unknown): boolean => typeof one === 'string'
  return kind === 'command' && typeof program === 'string' && Array.isArray(args) && args.every(isText)
}

/** Whether a contact can be reached at an address. */
export function isWebAddress(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text)
}

/** Writes the contacts of a home. @throws {@link PublisherError} `CLI_USAGE` for too many. */
export async function writeContacts(paths: Pick<HomePaths, 'transport'>, contacts: readonly Contact[]): Promise<void> {
  if (contacts.length > MAX_CONTACTS)
    throw new PublisherError('CLI_USAGE', `A home has at most ${MAX_CONTACTS} contacts`)
  const record = { format: 'keyturn-contacts', version: 1, contacts }
  await mkdir(paths.transport, { recursive: true, mode: 0o700 })
  await writeFileAtomic(join(paths.transport, FILE), utf8Encode(`${JSON.stringify(record, null, 2)}\n`), {
    mode: 0o600,
  })
}

/**
 * Tells contacts that keys have changed, all at once. What they get is a hint and no proof: they look the keys up.
 *
 * @param did - What was done, for people.
 * @param order - Whether a key was revoked.
 */
export async function notifyContacts(
  host: Pick<PublisherHost, 'clock' | 'signal'>,
  contacts: readonly Contact[],
  { metadata, did, order }: { readonly metadata: TransportMetadata; readonly did: string; readonly order: string },
): Promise<readonly Notified[]> {
  const active = metadata.keys.find(({ state }) => state === 'active')
  const notice = JSON.stringify({
    type: 'keyturn.transport-keys',
    schema: 1,
    identity: metadata.identity,
    order,
    did,
    active: active === undefined ? null : { device: active.device, public_key: active.publicKey },
    list: metadata.list?.seq ?? null,
    at: new Date(host.clock()).toISOString(),
  })
  const signal = AbortSignal.any([host.signal, AbortSignal.timeout(PATIENCE_MS)])
  return await Promise.all(
    contacts.map(async (contact) => ({
      contact: contactName(contact),
      problem: await (contact.kind === 'webhook' ? post(contact.url, notice, signal) : run(contact, notice, signal)),
    })),
  )
}

async function post(url: string, body: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(url, { method: 'POST', body, headers, redirect: 'error', signal })
    await answer.body?.cancel()
    return answer.ok ? undefined : `it answers ${answer.status}`
  } catch (error) {
    return problemOf(error)
  }
}

/** No shell reads it: the notice goes to its standard input. */
function run(
  { program, args }: Extract<Contact, { kind: 'command' }>,
  body: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const { PATH, HOME, SystemRoot } = process.env
    const env = { PATH, HOME, SystemRoot }
    const child = spawn(program, [...args], { stdio: ['pipe', 'ignore', 'ignore'], env, signal, windowsHide: true })
    child.once('error', (error) => resolve(problemOf(error)))
    child.once('close', (code) => resolve(code === 0 ? undefined : `it ended with ${code ?? 'a signal'}`))
    child.stdin.on('error', () => undefined)
    child.stdin.end(`${body}\n`)
  })
}

function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const cause = error.cause instanceof Error ? error.cause.message : error.message
  return printable(error.name === 'TimeoutError' || error.name === 'AbortError' ? 'it took too long' : cause, 200)
}
