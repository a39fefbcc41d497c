import { formatPin, sha256DigestSeal, verifyLog } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'
import { systemRandom } from '@keyturn/primitives'
import { bytes, codeOf, expect } from './require.mjs'

const [first, second, third] = [0, 1, 2].map(() => seedSigner([systemRandom(32)]))

export const features = {
  async 'create, rotate, verify'() {
    const seals = [sha256DigestSeal(bytes('who may publish'))]
    const inception = await incept(
      { keys: first.publicKeys, nextKeys: second.publicKeys, traits: ['EO'], seals },
      first,
    )
    const pin = formatPin({ prefix: inception.prefix, place: { sn: inception.sn, said: inception.said } })
    const next = { keys: second.publicKeys, nextKeys: third.publicKeys, seals }
    const rotation = await rotate(inception.state, next, second)
    const stream = new Uint8Array([...inception.message, ...rotation.message])
    expect('the log', verifyLog(stream, { pin }).state.sn === 1)
    stream[60] ^= 1
    expect('a changed log', (await codeOf(() => verifyLog(stream, { pin }))).startsWith('KEL_'))
  },
}
