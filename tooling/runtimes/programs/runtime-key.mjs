import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { parseRuntimeKeyBlob, RuntimeKey, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { codeOf, expect } from './require.mjs'

export const features = {
  async 'write and read'() {
    const signPublicKey = ed25519PublicKey(systemRandom(32))
    const key = RuntimeKey.take({ keyId: 4, masterKey: systemRandom(32), signPublicKey })
    const blob = writeRuntimeKeyBlob(key)
    expect('the key', parseRuntimeKeyBlob(blob).keyId === 4)
    expect('a cut key', (await codeOf(() => parseRuntimeKeyBlob(blob.subarray(1)))) === 'RK_BLOB')
  },
}
