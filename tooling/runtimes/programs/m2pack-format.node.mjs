import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildFolder, extractArchive, verifyArchiveFile } from '@keyturn/m2pack-format/node'
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { expect } from './require.mjs'

async function roundTrip(jobs) {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
  const at = (name) => join(folder, name)
  mkdirSync(at('tree'))
  writeFileSync(at('tree/a.txt'), 'hello '.repeat(50_000))
  writeFileSync(at('tree/b.bin'), systemRandom(300_000))
  const signingSeed = systemRandom(32)
  const contentKey = { keyId: 1, key: systemRandom(32) }
  const reading = { verifiers: new Map([[1, ed25519PublicKey(signingSeed)]]), contentKey, jobs }
  try {
    await buildFolder(at('tree'), at('a.m2p'), { contentKey, signingSeed, jobs, segmentSize: 65_536 })
    expect('the archive', (await verifyArchiveFile(at('a.m2p'), reading)).ok)
    await extractArchive(at('a.m2p'), at('out'), reading)
    for (const name of ['a.txt', 'b.bin'])
      expect(name, readFileSync(at(`out/${name}`)).equals(readFileSync(at(`tree/${name}`))))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const features = {
  'folders, in one thread': () => roundTrip(1),
  'folders, in worker threads': () => roundTrip(2),
}
