import { buildArchive, MemorySink, memorySource, openArchive, rewrapArchive } from '@keyturn/m2pack-format'
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { zstd } from './zstd.mjs'
import { bytes, codeOf, expect, text } from './require.mjs'

const signingSeed = systemRandom(32)
const contentKey = { keyId: 1, key: systemRandom(32) }
const verifiers = new Map([1, 2].map((keyId) => [keyId, ed25519PublicKey(signingSeed)]))
const story = 'Once upon a time there was a key. '.repeat(5000)

async function built(version) {
  const sink = new MemorySink()
  const files = [{ path: 'text/story.txt', source: memorySource(bytes(story)) }]
  await buildArchive(files, sink, { contentKey, signingSeed, version, zstd })
  return sink.bytes()
}

async function buildAndRead(version) {
  const archive = await openArchive(memorySource(await built(version)), { verifiers, contentKey, zstd })
  expect('the text', text(await archive.read('text/story.txt')) === story)
  expect('it is compressed', archive.entries[0].compression === 'zstd')
  archive.dispose()
}

export const features = {
  'build and read, version 1': () => buildAndRead(1),
  'build and read, version 2': () => buildAndRead(2),
  async 'rotate the content key'() {
    const archive = await openArchive(memorySource(await built(1)), { verifiers, contentKey })
    const turned = new MemorySink()
    const second = { keyId: 2, key: systemRandom(32) }
    await rewrapArchive(archive, turned, { contentKey: second, signingSeed })
    const source = memorySource(turned.bytes())
    const again = await openArchive(source, { verifiers, contentKey: second })
    expect('the text', text(await again.read('text/story.txt')) === story)
    const old = { ...contentKey, keyId: 2 }
    expect(
      'the old key',
      (await codeOf(() => openArchive(source, { verifiers, contentKey: old }))) === 'M2P_KEY_COMMITMENT',
    )
  },
}
