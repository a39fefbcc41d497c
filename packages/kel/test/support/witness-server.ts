import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { KelError } from '../../src/index.ts'
import type { Witness } from '../../src/witness/index.ts'

/** Serves a witness over HTTP as keripy's agents and the release server do. */
export async function serveWitness(witness: Witness): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => {
    void (async () => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://witness')
      if (pathname === '/witness') return response.end(JSON.stringify({ prefix: witness.prefix }))
      if (pathname !== '/witness/receipts') return response.writeHead(404).end()
      try {
        const receipts =
          request.method === 'POST'
            ? await witness.submit(Buffer.concat(parts))
            : await witness.find({ prefix: searchParams.get('pre') ?? '', sn: Number(searchParams.get('sn')) })
        return response.writeHead(receipts === undefined ? (request.method === 'POST' ? 202 : 404) : 200).end(receipts)
      } catch (error) {
        const { code, message } = error as KelError
        return response
          .writeHead(409, { 'content-type': 'application/problem+json' })
          .end(JSON.stringify({ code, detail: message }))
      }
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/witness`, close: () => server.close() }
}
