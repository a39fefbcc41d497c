import { createServer, request } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A proxy before a server that can end the program which speaks through it. */
export interface KillingProxy {
  readonly url: string
  /** Requests that change something, since the last call of {@link arm}. */
  readonly changes: number
  /**
   * From now on requests that change something are counted.
   *
   * @param at - The first is 1; at this one `kill` is called. Default: never.
   * @param when - Before the server gets the request, or once it has done it and the program does not know.
   */
  arm(kill: () => void, at?: number, when?: 'before' | 'after'): void
  close(): Promise<void>
}

/**
 * Starts a proxy.
 *
 * @param target - Address of the server.
 */
export async function killingProxy(target: string): Promise<KillingProxy> {
  let changes = 0
  let plan: { readonly kill: () => void; readonly at: number; readonly when: 'before' | 'after' } | undefined

  const pass = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const isChange = incoming.method !== 'GET' && incoming.method !== 'HEAD'
    if (isChange) changes += 1
    const killer = isChange && changes === plan?.at ? plan : undefined
    if (killer?.when === 'before') {
      killer.kill()
      return void incoming.destroy()
    }
    const { method, headers } = incoming
    const forwarded = request(new URL(incoming.url ?? '/', target), { method, headers }, (answer) => {
      if (killer !== undefined) {
        killer.kill()
        answer.resume()
        return void incoming.destroy()
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    forwarded.on('error', () => outgoing.destroy())
    incoming.on('error', () => forwarded.destroy())
    incoming.pipe(forwarded)
  }

  const server = createServer(pass)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get changes() {
      return changes
    },
    arm: (kill, at = 0, when = 'after') => {
      changes = 0
      plan = { kill, at, when }
    },
    close: () => {
      server.closeAllConnections()
      return new Promise((done) => server.close(() => done()))
    },
  }
}
