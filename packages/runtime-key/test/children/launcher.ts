// A launcher that starts a child which never takes its key, says so, and waits to be killed.
import { createHash } from 'node:crypto'
import { RuntimeKey } from '../../src/index.ts'
import { ed25519PublicKey } from '@keyturn/primitives'
import { sharedMemoryDelivery } from '../../src/node/index.ts'

const digest = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest())
const key = RuntimeKey.take({
  keyId: 4,
  masterKey: digest('content key'),
  signPublicKey: ed25519PublicKey(digest('verifier')),
})
const folder = process.argv[2]
const delivery = sharedMemoryDelivery({ timeoutMs: 2_000_000, ...(folder === undefined ? {} : { folder }) })
const { child, received } = await delivery.deliver(key, {
  file: '/bin/sleep',
  args: ['3600'],
  stdio: ['ignore', 'ignore', 'ignore'],
})
received.catch(() => {})
process.stdout.write(`${child.pid}\n`)
setInterval(() => {}, 1000)
