// A publisher in memory, an install from it, an update that is small, and a start without any server.
// Run: node examples/install.ts
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import { release, serve, trust } from './support/publisher.ts'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-example-'))
let isUp = true
const engine = createEngine({
  folder,
  server: 'https://releases.example/',
  trust,
  program: ['hello.mjs'],
  retry: { tries: 1 },
  fetch: (url) => (isUp ? serve(url) : Promise.reject(new TypeError('no server'))),
})

await release(1, { 'hello.mjs': 'console.log("Hello from release 1")', 'readme.txt': 'the same in both' })
const first = await engine.update()
await release(2, { 'hello.mjs': 'console.log("Hello from release 2")', 'readme.txt': 'the same in both' })
const second = await engine.update()
isUp = false
const started = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
console.log(
  `installed ${first.version}, then ${second.version} with ${second.writtenFiles} file; offline: ` +
    `${started.offline}, exit ${await started.exited}`,
)
console.log(await readFile(join(folder, 'hello.mjs'), 'utf8'))
await started.confirmed
await rm(folder, { recursive: true })
