/** A key for one child process, beside what is done by hand: a variable, a temporary file, Node's own channel. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519PublicKey, hexEncode, systemRandom } from '@keyturn/primitives'
import { RuntimeKey } from '@keyturn/runtime-key'
import { deliveryNamed } from '@keyturn/runtime-key/node'
import { cpuRow, row } from './measure.mjs'

const folder = mkdtempSync(join(tmpdir(), 'keyturn-compare-'))
const secret = systemRandom(32)
const hex = hexEncode(secret)
const key = RuntimeKey.take({ keyId: 4, masterKey: secret.slice(), signPublicKey: ed25519PublicKey(systemRandom(32)) })
const WAITS = "process.stdin.once('data', () => process.exit(0))"
/** Processor time of the child so far, in microseconds. */
const SAYS = 'const { user, system } = process.cpuUsage(); process.stdout.write(String(user + system))'
const stdio = ['pipe', 'pipe', 'inherit']
const node = (source) => ['--input-type=module', '--eval', source]
const seen = {}

let childMs = 0

/** Waits until the child has its key and says what that took it, looks at what others can see of it, and ends it. */
async function finish(name, child) {
  const [said] = await once(child.stdout, 'data')
  childMs = Number(said) / 1000
  if (seen[name] === undefined) {
    const environment = readFileSync(`/proc/${child.pid}/environ`).toString('latin1')
    seen[name] = environment.includes(hex) ? 'yes' : 'no'
  }
  child.stdin.write('end\n')
  await once(child, 'exit')
}

const ours = (name) => async () => {
  const source = `import { receiveRuntimeKey } from '@keyturn/runtime-key/node'
using key = receiveRuntimeKey(); ${SAYS}; ${WAITS}`
  const { child, received } = await deliveryNamed(name).deliver(key, {
    file: process.execPath,
    args: node(source),
    stdio,
  })
  await Promise.all([finish(name, child), received])
}

const says = (condition) => `if (!(${condition})) process.exit(1); ${SAYS}; ${WAITS}`
const byHand = {
  'a variable': async () =>
    finish(
      'a variable',
      spawn(process.execPath, node(says('process.env.GAME_KEY')), { stdio, env: { ...process.env, GAME_KEY: hex } }),
    ),
  'a file': async () => {
    const path = join(folder, 'key')
    writeFileSync(path, hex, { mode: 0o600 })
    const source = `import { readFileSync } from 'node:fs'; ${says(`readFileSync(${JSON.stringify(path)})`)}`
    await finish('a file', spawn(process.execPath, node(source), { stdio }))
    rmSync(path)
  },
  "Node's channel": async () => {
    const source = `process.once('message', () => { ${SAYS}; process.disconnect(); ${WAITS} })`
    const child = spawn(process.execPath, node(source), { stdio: [...stdio, 'ipc'] })
    child.send(hex)
    await finish("Node's channel", child)
  },
}
const tasks = { env: ours('env'), fd: ours('fd'), 'shared-memory': ours('shared-memory'), ...byHand }
const timed = ([name, task]) => [name, async () => (await task(), { cpuMs: childMs })]
await cpuRow(
  'start a child of Node until it has the key, both processes',
  Object.fromEntries(Object.entries(tasks).map(timed)),
  { rounds: 9 },
)
row('the key is in /proc/<pid>/environ', seen)
key.dispose()
rmSync(folder, { recursive: true })
