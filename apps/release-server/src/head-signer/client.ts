import { connect } from 'node:net'
import { base64Decode, base64Encode } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { HeadSigner } from '../releases/rollout.ts'

const answerWithinMs = 20_000
const mostBytes = 64 * 1024

/** What the head signer answers: an envelope, a refusal, or that a person has to say yes first. */
export interface SignerAnswer {
  readonly ok: boolean
  readonly head?: string
  readonly waiting?: boolean
  readonly code?: string
  readonly message?: string
}

/**
 * A head signer behind a unix socket: one line of JSON with the payload goes there, one line comes back.
 *
 * @param path - The socket.
 */
export function unixHeadSigner(path: string): HeadSigner {
  return {
    sign: async (payload, reason) => {
      const answer = await ask(path, JSON.stringify({ payload: base64Encode(payload), reason }))
      if (answer.waiting === true) return undefined
      if (!answer.ok || answer.head === undefined) {
        throw new ServerError(
          'SRV_HEAD_NEEDED',
          `The head signer refused: ${answer.code ?? ''} ${answer.message ?? ''}`.trim(),
        )
      }
      return base64Decode(answer.head)
    },
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
    socket.setTimeout(answerWithinMs, () => fail())
    socket.setEncoding('utf8')
    socket.once('error', fail)
    socket.once('connect', () => socket.write(`${line}\n`))
    socket.on('data', (part: string) => {
      text += part
      if (text.length > mostBytes) return fail()
      const end = text.indexOf('\n')
      if (end === -1) return
      socket.end()
      try {
        resolve(JSON.parse(text.slice(0, end)) as SignerAnswer)
      } catch (error) {
        fail(error)
      }
    })
    socket.once('close', () => fail())
  })
}
