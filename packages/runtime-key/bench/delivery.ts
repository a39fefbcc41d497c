// What delivering a key adds to starting a child: `pnpm bench`. The limit is the bare start of the same program.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { RuntimeKey } from '@keyturn/runtime-key'
import { deliveryNamed } from '@keyturn/runtime-key/node'

const ROUNDS = 60
const folder = mkdtempSync(join(tmpdir(), 'runtime-key-bench-'))
const client = join(folder, 'client')
execFileSync('cc', ['-O2', '-D_GNU_SOURCE', fileURLToPath(new URL('../c/example.c', import.meta.url)), '-o', client])
const key = RuntimeKey.take({
  keyId: 4,
  masterKey: systemRandom(32),
  signPublicKey: ed25519PublicKey(systemRandom(32)),
})
const stdio = ['ignore', 'ignore', 'inherit'] as const

async function bare(): Promise<void> {
  await once(spawn(client, [], { stdio: [...stdio] }), 'exit')
}

async function delivered(name: 'env' | 'fd' | 'shared-memory'): Promise<void> {
  const { child, received } = await deliveryNamed(name).deliver(key, { file: client, stdio })
  const ended = child.exitCode === null ? once(child, 'exit') : undefined
  await received
  await ended
}

const tasks: Record<string, () => Promise<void>> = {
  'bare start': bare,
  env: () => delivered('env'),
  fd: () => delivered('fd'),
  'shared-memory': () => delivered('shared-memory'),
}
const times: Record<string, number[]> = {}
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, task] of Object.entries(tasks)) {
    const start = performance.now()
    await task()
    times[name] = [...(times[name] ?? []), performance.now() - start]
  }
}
const median = (name: string): number => (times[name] ?? []).sort((a, b) => a - b)[ROUNDS >> 1] as number
for (const name of Object.keys(tasks)) {
  console.log(
    `${name.padEnd(14)} ${median(name).toFixed(2)} ms   ratio to the bare start ` +
      `${(median(name) / median('bare start')).toFixed(2)}`,
  )
}
rmSync(folder, { recursive: true })
