import { connect } from 'node:net'
import { base64Decode, base64Encode, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { HeadSigner } from '../releases/rollout.ts'
import { flag, object, optional, text as textShape } from '../storage/shape.ts'

const ANSWER_WITHIN_MS = 20_000
const MAX_ANSWER_BYTES = 64 * 1024

/** What the head signer answers: an envelope, a refusal, or that a person has to confirm first. */
export interface SignerAnswer {
  readonly ok: boolean
  readonly head?: string | undefined
  readonly waiting?: boolean | undefined
  readonly code?: string | undefined
  readonly message?: string | undefined
}

const signerAnswer = object<SignerAnswer>({
  ok: flag,
  head: optional(textShape),
  waiting: optional(flag),
  code: optional(textShape),
  message: optional(textShape),
})

function refusal({ code = '', message = '' }: SignerAnswer): ServerError {
  return new ServerError('SRV_HEAD_NEEDED', `The head signer refused: ${code} ${message}`.trim())
}

/**
 * A head signer behind a unix socket: one line of JSON with the request goes there, one line comes back.
 *
 * @param path - The socket.
 */
export function unixHeadSigner(path: string): HeadSigner {
  return {
    sign: async (payload, reason) => {
      const answer = await ask(path, JSON.stringify({ payload: base64Encode(payload), reason }))
      if (answer.waiting === true) return undefined
      if (!answer.ok || answer.head === undefined) throw refusal(answer)
      return base64Decode(answer.head)
    },
    watch: async (product, channel) => {
      const answer = await ask(path, JSON.stringify({ watch: { product, channel } }))
      if (!answer.ok) throw refusal(answer)
    },
    connected: () => canConnect(path),
  }
}

function ask(path: string, line: string): Promise<SignerAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let text = ''
    const fail = (cause?: unknown): void => {
      socket.destroy()
      reject(new ServerError('SRV_UNAVAILABLE', 'The head signer does not answer', { cause }))
    }
    socket.setTimeout(ANSWER_WITHIN_MS, () => fail())
    socket.setEncoding('utf8')
    socket.once('error', fail)
    socket.once('connect', () => socket.write(`${line}\n`))
    socket.on('data', (part: string) => {
      text += part
      if (text.length > MAX_ANSWER_BYTES) return fail()
      const end = text.indexOf('\n')
      if (end === -1) return
      socket.end()
      try {
        resolve(signerAnswer(parseStrictJson(utf8Encode(text.slice(0, end)), { maxBytes: MAX_ANSWER_BYTES }), ''))
      } catch (error) {
        fail(error)
      }
    })
    socket.once('close', () => fail())
  })
}

/** Whether somebody listens at a socket. */
export function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
