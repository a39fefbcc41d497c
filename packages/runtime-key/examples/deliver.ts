// Hands a content key to exactly one child process, which takes it with receiveRuntimeKey() and says its key_id.
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { assertListed, keyCommitment, RuntimeKey } from '@keyturn/runtime-key'
import { fdDelivery } from '@keyturn/runtime-key/node'

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')

using key = RuntimeKey.take({
  keyId: 4,
  masterKey: systemRandom(32),
  signPublicKey: ed25519PublicKey(systemRandom(32)),
})
console.log(`${key}`) // [redacted]

// What the signed manifest says; a mismatch stops here, before anything is started.
const listed = {
  keyId: 4,
  verifierPub: hex(key.signPublicKey ?? new Uint8Array()),
  commitment: hex(keyCommitment(key)),
  status: 'active' as const,
}
assertListed(key, [listed])

const client = `import { receiveRuntimeKey } from '@keyturn/runtime-key/node'
using key = receiveRuntimeKey()
console.log('the client has key', key.keyId)`
const { child, received } = await fdDelivery().deliver(key, {
  file: process.execPath,
  args: ['--input-type=module', '--eval', client],
})
await received
await new Promise((resolve) => child.once('exit', resolve))
