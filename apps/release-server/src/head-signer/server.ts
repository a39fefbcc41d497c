import { chmod, lstat, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import {
  KeyturnError,
  OneAtATime,
  base64Decode,
  base64Encode,
  isRecord,
  parseStrictJson,
  utf8Encode,
} from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import { ServerError } from '../errors.ts'
import { canConnect } from './client.ts'
import type { SignerAnswer } from './client.ts'
import { signWantedHead, watchChannel } from './sign-wanted-head.ts'
import type { SigningOptions } from './sign-wanted-head.ts'

/** Options of {@link startHeadSigner}. */
export interface HeadSignerOptions extends Omit<SigningOptions, 'state'> {
  /** The socket to listen on. */
  readonly socket: string
  /** Mode of the socket: 0600 (default), or 0660 for a server of the same group. */
  readonly socketMode?: number | undefined
  /** Folder, kept across restarts, of what was accepted and signed on each channel; default `<socket>.state`. */
  readonly state?: string | undefined
}

const MAX_LINE_BYTES = 64 * 1024

/** A request: sign a payload, or look at a channel. */
type SignerRequest =
  | { readonly payload: string; readonly reason: string }
  | { readonly watch: { readonly product: string; readonly channel: string } }

function readRequest(line: string): SignerRequest {
  const parsed = parseStrictJson(utf8Encode(line), { maxBytes: MAX_LINE_BYTES })
  const { payload, reason, watch } = isRecord(parsed) ? parsed : {}
  if (typeof payload === 'string' && typeof reason === 'string') return { payload, reason }
  const { product, channel } = isRecord(watch) ? watch : {}
  if (typeof product === 'string' && typeof channel === 'string') return { watch: { product, channel } }
  throw new ServerError('SRV_REQUEST', 'Expected a line {"payload", "reason"} or {"watch": {"product", "channel"}}')
}

async function answerLine(options: SigningOptions, line: string): Promise<SignerAnswer> {
  try {
    const request = readRequest(line)
    if ('watch' in request) {
      await watchChannel(options, request.watch.product, request.watch.channel)
      return { ok: true }
    }
    const head = await signWantedHead(options, base64Decode(request.payload), request.reason)
    return head === undefined ? { ok: false, waiting: true } : { ok: true, head: base64Encode(head) }
  } catch (error) {
    const known = error instanceof KeyturnError
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
  if (await canConnect(path))
    throw new ServerError('SRV_CONFIG', `Cannot listen on "${path}": another process answers there`)
  await rm(path, { force: true })
}

/** Starts the head signer: a process of its own that holds the head key, so that a robbed server signs nothing. */
export async function startHeadSigner(options: HeadSignerOptions): Promise<{ close(): Promise<void> }> {
  await clearAddress(options.socket)
  // One at a time: each request is verified against what the one before it left.
  const queue = new OneAtATime()
  const signing: SigningOptions = { ...options, state: options.state ?? `${options.socket}.state` }
  const answerInTurn = (socket: Socket, line: string): void => {
    void queue.run(async () => {
      if (!socket.destroyed) socket.end(`${JSON.stringify(await answerLine(signing, line))}\n`)
    })
  }
  const server = createServer((socket) => serve(answerInTurn, socket))
  await listen(server, options.socket)
  await chmod(options.socket, options.socketMode ?? 0o600)
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
