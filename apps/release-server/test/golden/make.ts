// Makes the golden data of the version at hand: `node test/golden/make.ts v2`, once per released version, never again.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { verifyStoredAudit } from '../../src/audit/audit.ts'
import { ReleaseServerClient } from '@keyturn/release-client'
import { createReleaseServer } from '../../src/server.ts'
import { TestPublisher } from '../publisher.ts'

const folder = join(import.meta.dirname, process.argv[2] ?? 'v1')
const dataDir = join(folder, 'data')
await rm(dataDir, { recursive: true, force: true })
await mkdir(dataDir, { recursive: true })
const server = await createReleaseServer({ dataDir })
const { url } = await server.listen()
const { secret } = await server.createToken({ name: 'golden', scopes: ['admin'], days: 400 })
const client = new ReleaseServerClient(url, { token: secret })
const publisher = await TestPublisher.create({ now: Date.now() })
await publisher.introduce(client)
const release = await publisher.release({ 'a.txt': utf8Encode('golden') })
await publisher.publish(client, release)
const audit = await verifyStoredAudit(server.context.metadata)
await server.close()
await writeFile(join(folder, 'expected.json'), `${JSON.stringify({ manifest: release.pin.sha256, head: 1, audit }, null, 2)}\n`)
console.log(await readFile(join(folder, 'expected.json'), 'utf8'))
