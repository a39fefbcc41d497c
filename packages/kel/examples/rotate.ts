// An identity with a pre-rotated key: created, rotated, verified by somebody who has nothing but its log and its pin.
import { systemRandom } from '@keyturn/primitives'
import { formatPin, sha256DigestSeal, verifyLog } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'

const [first, second, third] = [0, 1, 2].map(() => seedSigner([systemRandom(32)]))
if (first === undefined || second === undefined || third === undefined) throw new Error('unreachable')

const document = new TextEncoder().encode('who may publish')
const inception = await incept(
  { keys: first.publicKeys, nextKeys: second.publicKeys, traits: ['EO'], seals: [sha256DigestSeal(document)] },
  first,
)
const pin = formatPin({ prefix: inception.prefix, place: { sn: inception.sn, said: inception.said } })

// The second key was promised in the inception: only its holder can do this.
const rotation = await rotate(
  inception.state,
  { keys: second.publicKeys, nextKeys: third.publicKeys, seals: [sha256DigestSeal(document)] },
  second,
)
const stream = new Uint8Array([...inception.message, ...rotation.message])

// Refused unless the log is of that identity and contains the pinned event.
const log = verifyLog(stream, { pin })
console.log(`event ${log.state.sn} is in force for an identity of ${log.events.length} events`)
