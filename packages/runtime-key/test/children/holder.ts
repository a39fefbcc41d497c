// A client that holds its key until told to let go; others look into its memory meanwhile.
import { once } from 'node:events'
import { writeHeapSnapshot } from 'node:v8'
import { keyCommitment, writeRuntimeKeyBlob } from '../../src/index.ts'
import { receiveRuntimeKey } from '../../src/node/index.ts'

const key = receiveRuntimeKey()
const say = (word: string): void => void process.stdout.write(`${word}\n`)
keyCommitment(key)
writeRuntimeKeyBlob(key).fill(0)
say('holding')
// Nobody looks any more: the test is over.
process.stdout.on('error', () => process.exit(0))
process.stdin.on('end', () => process.exit(0))
process.stdin.setEncoding('utf8')
for (;;) {
  const [line] = (await once(process.stdin, 'data')) as [string]
  if (line.startsWith('dispose')) {
    key.dispose()
    globalThis.gc?.()
    globalThis.gc?.()
    say('disposed')
  }
  if (line.startsWith('snapshot ')) say(writeHeapSnapshot(line.slice(9).trim()))
  if (line.startsWith('crash')) process.kill(process.pid, 'SIGSEGV')
}
