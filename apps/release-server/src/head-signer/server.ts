import { chmod, lstat, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import {
  KeyturnError,
  OneAtATime,
  base64Decode,
  base64Encode,
  canonicalJson,
  equalBytes,
  parseStrictJson,
  isRecord,
  printable,
  sha256Hex,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import {
  floorOf,
  ManifestError,
  parseHead,
  parseHeadEnvelope,
  releaseSteps,
  signHead,
  writeHead,
} from '@keyturn/manifest'
import type { DocumentRequest, DocumentSigner, Head, ReleaseDecision, TrustState } from '@keyturn/manifest'
import { ServerError } from '../errors.ts'
import type { SignerAnswer } from './client.ts'
import { loadSignerState, saveSignerState } from './state.ts'
import type { SignerState } from './state.ts'

/** Options of {@link startHeadSigner}. */
export interface HeadSignerOptions {
  /** The socket to listen on; created with mode 0600. */
  readonly socket: string
  /** Holds the head key. */
  readonly signer: DocumentSigner
  /** The pin of the identity, so that the signer does not have to trust the server. */
  readonly pin: string
  /** Reads a file of the public tree, such as `/p/metin2/roles/1.json`; `undefined` when there is none. */
  readonly fetchPublic: (path: string) => Promise<Uint8Array | undefined>
  /** `auto` signs what passes; `confirm` asks a person first. Default `confirm`. */
  readonly mode?: 'auto' | 'confirm'
  /** Asks a person; only in `confirm`. */
  readonly confirm?: (summary: string) => Promise<boolean>
  readonly clock?: () => number
  /** Folder, kept across restarts, of what was accepted and signed on each channel; default `<socket>.state`. */
  readonly state?: string
  /** Days after the publisher's last head for which heads are still signed; default 30. */
  readonly renewalDays?: number
}

/** Default of {@link HeadSignerOptions.renewalDays}. */
export const DEFAULT_RENEWAL_DAYS = 30

const MAX_LINE_BYTES = 64 * 1024

/** The members of a head that are compared, in one form. */
function canonicalHead(members: object): string {
  return canonicalJson(members as JsonObject)
}

/** What may change without a new release: the rollout, sequence and times. The server may not ask for anything else. */
function sameOffer(current: Head, wanted: Head): boolean {
  const fixed = ({
    sequence: _sequence,
    issuedAt: _issued,
    expiresAt: _expires,
    rollout: _rollout,
    ...rest
  }: Head): string => canonicalHead(rest)
  return fixed(current) === fixed(wanted) && wanted.sequence === current.sequence + 1
}

function pathOf(product: string, request: DocumentRequest): string {
  const root = `/p/${product}`
  switch (request.document) {
    case 'log':
      return `${root}/kel/${request.prefix}.cesr`
    case 'roles':
      return `${root}/roles/${request.version}.json`
    case 'kills':
      return `${root}/kills.json`
    case 'head':
      return `${root}/channels/${request.channel}/head.json`
    case 'manifest':
      return `${root}/channels/${request.channel}/manifests/${request.pin?.version ?? ''}.json`
    case 'signatures':
      return `${root}/channels/${request.channel}/manifests/${request.pin.version}.sigs.json`
    case 'legacy-signature':
      return `${root}/channels/${request.channel}/manifest.json.sig`
  }
}

/** Verifies the public tree as a launcher would, with another head in its place where one is given. */
async function verifyTree(
  options: HeadSignerOptions,
  about: Head,
  state: TrustState,
  head?: Uint8Array,
): Promise<ReleaseDecision> {
  const { product, channel } = about
  const steps = releaseSteps(state, { channel, product, nowMs: (options.clock ?? Date.now)() })
  let step = steps.next()
  while (step.done !== true) {
    const request = step.value
    step = steps.next(
      head !== undefined && request.document === 'head' ? head : await options.fetchPublic(pathOf(product, request)),
    )
  }
  return step.value
}

/** What the tree shows, joined to what is remembered; a head that is not the signer's own is the publisher's. */
function withShown(state: SignerState, current: Head, trust: TrustState): SignerState {
  const sha256 = sha256Hex(writeHead(current))
  const floor = floorOf(state.trust, current.channel)
  const known = state.publisherMs !== undefined && (floor.headSha256 === sha256 || state.signed?.sha256 === sha256)
  const {
    epoch,
    manifest: { sequence },
  } = current
  if (state.manifest?.epoch === epoch && sequence < state.manifest.sequence) {
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      `The head pins manifest ${sequence}, but manifest ${state.manifest.sequence} was in force already`,
    )
  }
  return {
    ...state,
    trust,
    manifest: { epoch, sequence },
    publisherMs: known ? state.publisherMs : Date.parse(current.issuedAt),
  }
}

/** A head that was signed and never published: it may be returned again; another one at its sequence never. */
function signedBefore({ signed }: SignerState, wanted: Head): Uint8Array | undefined {
  if (signed === undefined) return undefined
  const head = parseHead(parseHeadEnvelope(signed.head).payload)
  if (head.epoch !== wanted.epoch || head.sequence !== wanted.sequence) return undefined
  const timeless = ({ issuedAt: _issued, expiresAt: _expires, ...rest }: Head): string => canonicalHead(rest)
  if (timeless(head) === timeless(wanted)) return signed.head
  throw new ServerError(
    'SRV_HEAD_NEEDED',
    `Head ${signed.sequence} was signed with another rollout and not published: ask for that one again, or publish ` +
      'a head',
  )
}

function summaryOf(wanted: Head, reason: string): string {
  const { product, channel, manifest, rollout } = wanted
  const facts = `${product}/${channel}: head ${wanted.sequence}, release ${printable(manifest.version, 128)} (manifest ${manifest.sequence})`
  return `Reason given: ${printable(reason, 200)}\n${facts}, rollout ${rollout?.percent ?? 100} %${rollout?.paused === true ? ', halted' : ''}`
}

function requireFreshPublisher(options: HeadSignerOptions, { publisherMs = 0 }: SignerState): void {
  const days = options.renewalDays ?? DEFAULT_RENEWAL_DAYS
  if ((options.clock ?? Date.now)() - publisherMs > days * 86_400_000) {
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      `The publisher's last head is more than ${days} days old: publish a head first`,
    )
  }
}

/**
 * Verifies and signs one head: it must be the current head of its channel with another rollout, and once signed it must
 * pass the verification of a release with what the public tree holds. The tree is verified against what was accepted
 * before, and what is accepted now is stored durably before a signature is returned. One call at a time.
 *
 * @throws ManifestError, ServerError `SRV_HEAD_NEEDED`, `SRV_STORAGE`.
 */
export async function signWantedHead(
  options: HeadSignerOptions,
  payload: Uint8Array,
  reason: string,
): Promise<Uint8Array | undefined> {
  const wanted = parseHead(payload)
  // Its own heads are recognized by the hash of their one form.
  if (!equalBytes(writeHead(wanted), payload))
    throw new ServerError('SRV_REQUEST', 'The head is not in the form that a head is written in')
  const { product, channel } = wanted
  const folder = options.state ?? `${options.socket}.state`
  const place = { folder, product, channel, pin: options.pin }
  const stored = await loadSignerState(place)
  const before = await verifyTree(options, wanted, stored.trust)
  if (before.outcome === 'refused') throw before.error
  const current = before.head
  if (current === undefined || !sameOffer(current, wanted)) {
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      'Only the rollout of the current head may change; anything else needs a head from the publisher',
    )
  }
  const state = withShown(stored, current, before.state)
  await saveSignerState(place, state)
  requireFreshPublisher(options, state)
  const again = signedBefore(state, wanted)
  if (again !== undefined) return again
  if ((options.mode ?? 'confirm') === 'confirm' && (await options.confirm?.(summaryOf(wanted, reason))) !== true)
    return undefined
  const head = await signHead(payload, [options.signer])
  const after = await verifyTree(options, wanted, before.state, head)
  if (after.outcome === 'refused') throw after.error
  await saveSignerState(place, { ...state, signed: { sequence: wanted.sequence, sha256: sha256Hex(payload), head } })
  return head
}

async function answerLine(options: HeadSignerOptions, line: string): Promise<SignerAnswer> {
  try {
    const parsed = parseStrictJson(utf8Encode(line), { maxBytes: MAX_LINE_BYTES })
    const { payload, reason } = isRecord(parsed) ? parsed : {}
    if (typeof payload !== 'string' || typeof reason !== 'string')
      throw new ServerError('SRV_REQUEST', 'Expected a line {"payload", "reason"}')
    const head = await signWantedHead(options, base64Decode(payload), reason)
    return head === undefined ? { ok: false, waiting: true } : { ok: true, head: base64Encode(head) }
  } catch (error) {
    const known = error instanceof KeyturnError || error instanceof ManifestError
    return {
      ok: false,
      code: known ? error.code : 'SRV_INTERNAL',
      message: known ? error.message : 'The head signer failed',
    }
  }
}

/**
 * Removes what a head signer that died left at its address: a socket that nobody answers on, and nothing else.
 *
 * @throws ServerError `SRV_CONFIG` for a file that is not a socket, or one that another process answers on.
 */
async function clearAddress(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket())
    throw new ServerError('SRV_CONFIG', `Cannot listen on "${path}": it is a file, not a socket`, {
      hint: 'Name a path that does not exist; the head signer removes only sockets',
    })
  if (await answers(path))
    throw new ServerError('SRV_CONFIG', `Cannot listen on "${path}": another process answers there`)
  await rm(path, { force: true })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** Starts the head signer: a process of its own that holds the head key, so that a robbed server signs nothing. */
export async function startHeadSigner(options: HeadSignerOptions): Promise<{ close(): Promise<void> }> {
  await clearAddress(options.socket)
  // One at a time: each request is verified against what the one before it left.
  const queue = new OneAtATime()
  const answerInTurn = (socket: Socket, line: string): void => {
    void queue.run(async () => {
      if (!socket.destroyed) socket.end(`${JSON.stringify(await answerLine(options, line))}\n`)
    })
  }
  const server = createServer((socket) => serve(answerInTurn, socket))
  await listen(server, options.socket)
  await chmod(options.socket, 0o600)
  return {
    // Node removes the socket itself when its server closes.
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

function listen(server: Server, path: string): Promise<void> {
  const umask = process.umask(0o177)
  return new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  }).finally(() => process.umask(umask))
}

function serve(answer: (socket: Socket, line: string) => void, socket: Socket): void {
  let text = ''
  socket.setEncoding('utf8')
  socket.setTimeout(30_000, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (part: string) => {
    text += part
    if (text.length > MAX_LINE_BYTES) return socket.destroy()
    const end = text.indexOf('\n')
    if (end === -1) return
    const line = text.slice(0, end)
    text = ''
    answer(socket, line)
  })
}
