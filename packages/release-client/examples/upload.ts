// Uploads two files to a release server and reads one back. A small server in this process replaces a real one:
// `createReleaseServer()` of @keyturn/release-server, or `keyturn serve`.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { blobFromBytes, ProblemError, ReleaseServerClient } from '@keyturn/release-client'

const stored = new Map<string, Uint8Array>()
const server = createServer(async (request, response) => {
  const parts: Uint8Array[] = []
  for await (const part of request) parts.push(part)
  const body = Buffer.concat(parts)
  const [, hash = ''] = /([0-9a-f]{64})$/.exec(request.url ?? '') ?? []
  const answer = (status: number, content: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content))
  if (request.url === '/v1/blobs:missing') {
    const asked = (JSON.parse(body.toString()) as { sha256: string[] }).sha256
    return answer(200, { missing: asked.filter((name) => !stored.has(name)) })
  }
  if (request.method === 'PUT') return answer(201, { size: stored.set(hash, body).size })
  if (stored.has(hash)) return response.end(stored.get(hash))
  return answer(403, { code: 'SRV_SCOPE', kind: 'auth', detail: 'the token needs the scope audit:read' })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const client = new ReleaseServerClient(url, { token: 'm2t_0123456789abcdef_secret' })
const files = ['first file', 'second file'].map((text) => blobFromBytes(new TextEncoder().encode(text)))
console.log(await client.uploadMissing(files)) // { blobs: 2, … }
console.log(await client.uploadMissing(files)) // { blobs: 0, …, present: 2 }: nothing is sent twice
const [first] = files
const bytes = await client.fetchPublic(`/files/${first?.sha256.slice(0, 2)}/${first?.sha256}`)
console.log(new TextDecoder().decode(bytes))

try {
  await client.audit()
} catch (error) {
  if (!(error instanceof ProblemError)) throw error
  console.log(error.code, error.status) // SRV_SCOPE 403
}
server.close()
