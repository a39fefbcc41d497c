import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Fetch } from './http.ts'
import { proxyFor } from './proxy.ts'
import type { Proxies } from './proxy.ts'
import { ProxySettings } from './system-proxy.ts'

// The global fetch dies of an assertion that nobody can catch when a server ends a connection at the wrong moment
// (docs/decisions/0072). Proxies come from the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
// NO_PROXY), else from the settings of Windows or macOS.
interface Agents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

const AGENT_OPTIONS = { keepAlive: true, maxSockets: 16, scheduling: 'lifo' } as const
const directAgents: Agents = { http: new HttpAgent(AGENT_OPTIONS), https: new HttpsAgent(AGENT_OPTIONS) }
const proxyAgents = new Map<string, Agents>()

function agentsFor(proxy: URL | undefined): Agents {
  if (proxy === undefined) return directAgents
  const known = proxyAgents.get(proxy.href)
  if (known !== undefined) return known
  const options = { ...AGENT_OPTIONS, proxyEnv: { HTTP_PROXY: proxy.href, HTTPS_PROXY: proxy.href } }
  const agents = { http: new HttpAgent(options), https: new HttpsAgent(options) }
  proxyAgents.set(proxy.href, agents)
  return agents
}

/** Statuses whose answer has no body by definition. */
const BODILESS = new Set([204, 205, 304])

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
  if (!BODILESS.has(status)) return new Response(bodyOf(message), { status, headers })
  message.resume()
  return new Response(null, { status, headers })
}

function open(
  target: URL,
  proxy: URL | undefined,
  init: RequestInit,
  onAnswer: (message: IncomingMessage) => void,
): ClientRequest {
  const agents = agentsFor(proxy)
  const options = {
    method: init.method ?? 'GET',
    headers: Object.fromEntries(new Headers(init.headers)),
    ...(init.signal ? { signal: init.signal } : {}),
  }
  if (target.protocol === 'https:') return httpsRequest(target, { ...options, agent: agents.https }, onAnswer)
  if (target.protocol === 'http:') return httpRequest(target, { ...options, agent: agents.http }, onAnswer)
  throw new TypeError(`Cannot fetch over ${target.protocol}`)
}

/** Says through which proxy a request went that got no answer, or that there is a script which it did not ask. */
function throughProxy(error: Error, proxy: URL | undefined, { pac }: Proxies): Error {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.message
  if (proxy !== undefined)
    return new Error(`${code} at the proxy ${proxy.host}`, { cause: new ProxyFailure(code, proxy.host, error) })
  if (pac === undefined) return error
  const message = `${code}; the system chooses its proxy by a script (PAC), which is not supported: set HTTPS_PROXY`
  return new Error(message, { cause: new Error(message, { cause: error }) })
}

/** The innermost reason, as the message of the request shows it. */
class ProxyFailure extends Error {
  constructor(code: string, host: string, cause: Error) {
    super(`${code} at the proxy ${host}`, { cause })
  }
}

/**
 * Makes the subset of `fetch` that the engine needs, over `node:http`; redirects are the caller's.
 *
 * @param settings - Which proxies there are.
 */
export function nodeFetchWith(settings: ProxySettings): Fetch {
  return async (url, init) => {
    const target = new URL(url)
    const proxies = await settings.current()
    const proxy = proxyFor(target, proxies)
    return await new Promise<Response>((resolve, reject) => {
      const request = open(target, proxy, init, (message) => {
        try {
          resolve(toResponse(message))
        } catch (error) {
          message.destroy()
          reject(error as Error) // a status or header that no answer may have
        }
      })
      // Also once the answer is there: its body then says so.
      request.on('error', (error) => reject(throughProxy(error, proxy, proxies)))
      const { body } = init
      request.end(typeof body === 'string' || body instanceof Uint8Array ? body : undefined)
    })
  }
}

/** The `fetch` of this machine. */
export const nodeFetch: Fetch = nodeFetchWith(new ProxySettings())
