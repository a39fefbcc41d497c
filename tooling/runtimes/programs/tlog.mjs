import { systemRandom } from '@keyturn/primitives'
import { appendEntries, parseNote, seedNoteSigner, signCheckpoint, tilePath, verifyCheckpoint } from '@keyturn/tlog'
import { bytes, codeOf, expect } from './require.mjs'

export const features = {
  async 'append, sign, verify'() {
    const log = seedNoteSigner('log.example/releases', 'note', systemRandom(32))
    const other = seedNoteSigner('log.example/releases', 'note', systemRandom(32))
    const files = new Map()
    const source = { read: async (tile) => files.get(tilePath(tile)) }
    const tree = await appendEntries(source, 0, [bytes('release 1'), bytes('release 2')])
    const checkpoint = await signCheckpoint(tree, log)
    parseNote(checkpoint)
    expect('the checkpoint', verifyCheckpoint(checkpoint, log.key).size === 2)
    expect('another key', (await codeOf(() => verifyCheckpoint(checkpoint, other.key))).startsWith('TLOG_'))
  },
}
