import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Tamper } from '../demo/stage.ts'

/** Most that is passed on at once: the files of the drill's client are small. */
const MAX_BODY_BYTES = 64 * 1024 * 1024

/** A server of a thief: it shows what they forged, and passes on everything else. */
export interface ThiefServer {
  readonly url: string
  close(): Promise<void>
}

/** The first answer that counts. */
export function inOrder(...tampers: readonly Tamper[]): Tamper {
  return (path, body) => {
    for (const tamper of tampers) {
      const changed = tamper(path, body)
      if (changed !== undefined) return changed
    }
    return undefined
  }
}

async function original(url: string): Promise<{ status: number; body: Uint8Array | undefined }> {
  const answer = await fetch(url)
  const body = new Uint8Array(await answer.arrayBuffer())
  if (body.length > MAX_BODY_BYTES) throw new RangeError(`${url} is too large for a drill`)
  return { status: answer.status, body: answer.ok ? body : undefined }
}

/**
 * Starts the server of a thief on loopback.
 *
 * @param genuine - Address of the real one.
 * @param tamper - What the thief changes.
 */
export async function startThief(genuine: string, tamper: Tamper): Promise<ThiefServer> {
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    original(`${genuine}${path}`)
      .then(({ status, body }) => {
        const name = new URL(path, genuine).pathname.slice(1)
        const changed = tamper(name, body) ?? body
        response.writeHead(changed === undefined ? status : 200, { 'content-length': changed?.length ?? 0 })
        response.end(changed)
      })
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
