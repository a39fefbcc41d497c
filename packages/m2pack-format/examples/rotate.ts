// Packs files, reads one, rotates the content key, and shows how little of the archive changes.
import { randomBytes } from 'node:crypto'
import { ed25519PublicKey } from '@keyturn/primitives'
import { buildArchive, MemorySink, memorySource, openArchive, rewrapArchive } from '@keyturn/m2pack-format'

const signingSeed = new Uint8Array(randomBytes(32))
const publicKey = ed25519PublicKey(signingSeed)
const verifiers = new Map([
  [1, publicKey],
  [2, publicKey],
])
const first = { keyId: 1, key: new Uint8Array(randomBytes(32)) }
const second = { keyId: 2, key: new Uint8Array(randomBytes(32)) }

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const sink = new MemorySink()
await buildArchive(
  [
    { path: 'config/client.ini', source: memorySource(text('fullscreen = 1\n')) },
    { path: 'text/story.txt', source: memorySource(text('Once upon a time there was a key. '.repeat(500))) },
  ],
  sink,
  { contentKey: first, signingSeed },
)

const archive = await openArchive(memorySource(sink.bytes()), { verifiers, contentKey: first })
console.log(new TextDecoder().decode(await archive.read('config/client.ini')).trim())

const turned = new MemorySink()
const { changedBytesAtMost } = await rewrapArchive(archive, turned, { contentKey: second, signingSeed })
const [before, after] = [sink.bytes(), turned.bytes()]
const different = before.filter((byte, index) => byte !== after[index]).length
console.log(`${different} of ${after.length} bytes differ, at most ${changedBytesAtMost} may`)
archive.dispose()

const reopened = await openArchive(memorySource(after), { verifiers, contentKey: second })
const { ok } = await reopened.verify()
const refused = await openArchive(memorySource(after), { verifiers, contentKey: { ...first, keyId: 2 } }).catch(
  (error: { code: string }) => error.code,
)
if (!ok || refused !== 'M2P_KEY_COMMITMENT' || different > changedBytesAtMost) throw new Error('The turn did not hold')
console.log(`the old key: ${refused}`)
