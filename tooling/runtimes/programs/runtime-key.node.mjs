import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { RuntimeKey } from '@keyturn/runtime-key'
import { envDelivery, fdDelivery } from '@keyturn/runtime-key/node'
import { expect } from './require.mjs'

const CLIENT = `import { receiveRuntimeKey } from '@keyturn/runtime-key/node'
process.exitCode = receiveRuntimeKey().keyId === 4 ? 7 : 1`

async function deliverBy(delivery) {
  const signPublicKey = ed25519PublicKey(systemRandom(32))
  const key = RuntimeKey.take({ keyId: 4, masterKey: systemRandom(32), signPublicKey })
  const evaluate = globalThis.Deno
    ? ['eval', CLIENT]
    : globalThis.Bun
      ? ['--eval', CLIENT]
      : ['--input-type=module', '--eval', CLIENT]
  const { child, received } = await delivery.deliver(key, { file: process.execPath, args: evaluate })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await received
  expect('the child has the key', (await ended) === 7)
}

export const features = {
  'to a child by its environment': () => deliverBy(envDelivery()),
  'to a child by a pipe': () => deliverBy(fdDelivery()),
}
