// A launcher: reads a key file, hands the key to one child, lets go of it, and waits to be looked at.
import { once } from 'node:events'
import { deliveryNamed, readRuntimeKeyFile, suppressCoreDumps } from '../../src/node/index.ts'

const [file = '', name = 'fd'] = process.argv.slice(2)
await suppressCoreDumps()
const key = await readRuntimeKeyFile(file)
const { child, received } = await deliveryNamed(name as 'fd', { timeoutMs: 240_000 }).deliver(key, {
  file: process.execPath,
  args: ['--expose-gc', new URL('holder.ts', import.meta.url).pathname],
  stdio: ['pipe', 'pipe', 'inherit'],
})
await received
key.dispose()
globalThis.gc?.()
globalThis.gc?.()
process.stdout.write(`${child.pid}\n`)
process.stdin.setEncoding('utf8')
for (;;) {
  const [line] = (await once(process.stdin, 'data')) as [string]
  if (line.startsWith('crash')) process.kill(process.pid, 'SIGSEGV')
  if (line.startsWith('end')) {
    child.kill()
    process.exit(0)
  }
}
