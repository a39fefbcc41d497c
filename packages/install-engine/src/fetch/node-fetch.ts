import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Fetch } from './http.ts'

// The global fetch dies of an assertion that nobody can catch when a server ends a connection at the wrong moment
// (docs/decisions/0072). Proxies come from the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
const agentOptions = { keepAlive: true, maxSockets: 16, scheduling: 'lifo', proxyEnv: process.env } as const
const plainAgent = new HttpAgent(agentOptions)
const secureAgent = new HttpsAgent(agentOptions)

/** Statuses whose answer has no body by definition. */
const bodiless = new Set([204, 205, 304])

function bodyOf(message: IncomingMessage): ReadableStream<Uint8Array> {
  const parts = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await parts.next()
        if (next.done === true) controller.close()
        else controller.enqueue(new Uint8Array(next.value))
      },
      cancel() {
        message.destroy()
      },
    },
    { highWaterMark: 0 },
  )
}

function toResponse(message: IncomingMessage): Response {
  const status = message.statusCode ?? 0
  const headers = new Headers()
  for (const [name, values] of Object.entries(message.headersDistinct))
    for (const value of values ?? []) headers.append(name, value)
  if (!bodiless.has(status)) return new Response(bodyOf(message), { status, headers })
  message.resume()
  return new Response(null, { status, headers })
}

function open(url: string, init: RequestInit, onAnswer: (message: IncomingMessage) => void): ClientRequest {
  const target = new URL(url)
  const options = {
    method: init.method ?? 'GET',
    headers: Object.fromEntries(new Headers(init.headers)),
    ...(init.signal ? { signal: init.signal } : {}),
  }
  if (target.protocol === 'https:') return httpsRequest(target, { ...options, agent: secureAgent }, onAnswer)
  if (target.protocol === 'http:') return httpRequest(target, { ...options, agent: plainAgent }, onAnswer)
  throw new TypeError(`Cannot fetch over ${target.protocol}`)
}

/** The subset of `fetch` that the engine needs, over `node:http`; redirects are the caller's. */
export const nodeFetch: Fetch = async (url, init) =>
  await new Promise<Response>((resolve, reject) => {
    const request = open(url, init, (message) => {
      try {
        resolve(toResponse(message))
      } catch (error) {
        message.destroy()
        reject(error as Error) // a status or header that no answer may have
      }
    })
    request.on('error', reject) // also once the answer is there: its body then tells
    const { body } = init
    request.end(typeof body === 'string' || body instanceof Uint8Array ? body : undefined)
  })
