import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createReleaseServer } from '@keyturn/release-server'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'

const dataDir = await mkdtemp(join(tmpdir(), 'keyturn-example-'))
const server = await createReleaseServer({ dataDir })
const { url } = await server.listen()
try {
  const { secret } = await server.createToken({ name: 'example', scopes: ['blobs:write'] })
  const client = new ReleaseServerClient(url, { token: secret })
  const blob = blobFromBytes(new TextEncoder().encode('a file of a release'))
  const sent = await client.uploadMissing([blob])
  const bytes = await client.fetchPublic(`/files/${blob.sha256.slice(0, 2)}/${blob.sha256}`)
  console.log(`${sent.blobs} blob sent, read back: ${new TextDecoder().decode(bytes)}`)
} finally {
  await server.close()
  await rm(dataDir, { recursive: true, force: true })
}
