import { chmod, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { KeyturnError, base64Decode, base64Encode, canonicalJson, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { initialTrustState, ManifestError, parseHead, parseTrustRoot, releaseSteps, signHead } from '@keyturn/manifest'
import type { DocumentRequest, DocumentSigner, Head, ReleaseDecision, TrustState } from '@keyturn/manifest'
import { ServerError } from '../errors.ts'
import type { SignerAnswer } from './client.ts'

/** Options of {@link startHeadSigner}. */
export interface HeadSignerOptions {
  /** The socket to listen on; born with mode 0600. */
  readonly socket: string
  /** Holds the head key. */
  readonly signer: DocumentSigner
  /** The pin of the identity, so that the signer trusts no word of the server. */
  readonly pin: string
  /** Reads a file of the public tree, such as `/p/metin2/roles/1.json`; `undefined` when it is not there. */
  readonly fetchPublic: (path: string) => Promise<Uint8Array | undefined>
  /** `auto` signs what passes; `confirm` asks a person first. Default `confirm`. */
  readonly mode?: 'auto' | 'confirm'
  /** Asks a person; only in `confirm`. */
  readonly confirm?: (summary: string) => Promise<boolean>
  readonly clock?: () => number
}

const mostBytes = 64 * 1024

/** What may change without a new release: the rollout, sequence and times. Anything else is not the server's to ask. */
function sameOffer(current: Head, wanted: Head): boolean {
  const fixed = ({ sequence: _sequence, issuedAt: _issued, expiresAt: _expires, rollout: _rollout, ...rest }: Head): string => canonicalJson(rest as unknown as JsonObject)
  return fixed(current) === fixed(wanted) && wanted.sequence === current.sequence + 1
}

function pathOf(product: string, request: DocumentRequest): string {
  const root = `/p/${product}`
  switch (request.document) {
    case 'log':
      return `${root}/kel/${request.prefix}.cesr`
    case 'roles':
      return `${root}/roles/${request.version}.json`
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

/** Judges the public tree as a launcher would, with another head in its place where one is given. */
async function judgeTree(options: HeadSignerOptions, about: Head, state: TrustState, head?: Uint8Array): Promise<ReleaseDecision> {
  const { product, channel } = about
  const steps = releaseSteps(state, { channel, product, nowMs: (options.clock ?? Date.now)() })
  let step = steps.next()
  while (step.done !== true) {
    const request = step.value
    step = steps.next(head !== undefined && request.document === 'head' ? head : await options.fetchPublic(pathOf(product, request)))
  }
  return step.value
}

/**
 * Judges and signs one head: it must be the current head of its channel with another rollout, and signed it must pass
 * the verification of a release with what the public tree holds.
 *
 * @throws ManifestError, ServerError `SRV_HEAD_NEEDED`.
 */
export async function signWantedHead(options: HeadSignerOptions, payload: Uint8Array, reason: string): Promise<Uint8Array | undefined> {
  const wanted = parseHead(payload)
  const before = await judgeTree(options, wanted, initialTrustState(parseTrustRoot(options.pin)))
  if (before.outcome === 'refused') throw before.error
  const current = before.head
  if (current === undefined || !sameOffer(current, wanted)) {
    throw new ServerError('SRV_HEAD_NEEDED', 'Only the rollout of the current head may change; anything else needs a head of the publisher')
  }
  const summary = `${wanted.product}/${wanted.channel}: release ${wanted.manifest.version}, rollout ${wanted.rollout?.percent ?? 100} %${wanted.rollout?.paused === true ? ', halted' : ''} (${reason})`
  if ((options.mode ?? 'confirm') === 'confirm' && await options.confirm?.(summary) !== true) return undefined
  const head = await signHead(payload, [options.signer])
  const after = await judgeTree(options, wanted, before.state, head)
  if (after.outcome === 'refused') throw after.error
  return head
}

async function answerLine(options: HeadSignerOptions, line: string): Promise<SignerAnswer> {
  try {
    const { payload, reason } = parseStrictJson(utf8Encode(line), { maxBytes: mostBytes }) as JsonObject
    const head = await signWantedHead(options, base64Decode(String(payload)), String(reason))
    return head === undefined ? { ok: false, waiting: true } : { ok: true, head: base64Encode(head) }
  } catch (error) {
    const known = error instanceof KeyturnError || error instanceof ManifestError
    return { ok: false, code: known ? error.code : 'SRV_INTERNAL', message: known ? error.message : 'The head signer failed' }
  }
}

/** Starts the head signer: a process of its own that holds the head key, so that a robbed server signs nothing. */
export async function startHeadSigner(options: HeadSignerOptions): Promise<{ close(): Promise<void> }> {
  await rm(options.socket, { force: true })
  const server = createServer((socket) => serve(options, socket))
  await listen(server, options.socket)
  await chmod(options.socket, 0o600)
  return {
    close: async () => {
      await new Promise((resolve) => server.close(resolve))
      await rm(options.socket, { force: true })
    },
  }
}

function listen(server: Server, path: string): Promise<void> {
  const umask = process.umask(0o177)
  return new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  }).finally(() => process.umask(umask))
}

function serve(options: HeadSignerOptions, socket: Socket): void {
  let text = ''
  socket.setEncoding('utf8')
  socket.setTimeout(30_000, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (part: string) => {
    text += part
    if (text.length > mostBytes) return socket.destroy()
    const end = text.indexOf('\n')
    if (end === -1) return
    const line = text.slice(0, end)
    text = ''
    void answerLine(options, line).then((answer) => socket.end(`${JSON.stringify(answer)}\n`))
  })
}
