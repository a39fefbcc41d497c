// An app that updates itself. The installer puts a small shell on the machine (in Electron: the `main` of
// package.json); the shell brings the app in a folder of its own to the newest release and starts it. The running app
// only asks whether there is a newer release, and starts the shell again when the user agrees: files in use are never
// replaced. Here Node plays Electron, which starts a `.mjs` the same way (`electron main.mjs`). Run: node
// examples/electron.ts
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { release, serve, trust } from './support/publisher.ts'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-example-'))

/** What shell and app both open; in Electron `folder` is below `app.getPath('userData')`, and `fetch` is left out. */
function openEngine(): Engine {
  return createEngine({ folder, server: 'https://releases.example/', trust, program: ['main.mjs'], fetch: serve })
}

/** The shell: updates if the server can be reached, verifies every file, starts the app, and leaves. */
async function shell(): Promise<string> {
  const { version, offline, exited, confirmed } = await openEngine().launch({ stdio: ['ignore', 'inherit', 'inherit'] })
  // Electron: `app.exit()` once `confirmed` is true. A release that twice does not live that long is rolled back by
  // itself.
  await exited
  return `shell: started ${version}${offline ? ' offline' : ''}, good: ${await confirmed}`
}

/** The running app, now and then: is there something newer? Nothing is written, so nothing in use changes. */
async function hasUpdate(): Promise<string | undefined> {
  const { outcome, version } = await openEngine().update({ dryRun: true })
  return outcome === 'updated' ? version : undefined
}

await release(1, { 'main.mjs': 'console.log("app: this is release 1")', 'assets.txt': 'the same in both' })
console.log(await shell())
console.log(`app: newer release: ${await hasUpdate()}`)

await release(2, { 'main.mjs': 'console.log("app: this is release 2")', 'assets.txt': 'the same in both' })
const newer = await hasUpdate()
console.log(`app: newer release: ${newer}`)
if (newer !== undefined) console.log(await shell()) // Electron: `app.relaunch(); app.exit()`

await rm(folder, { recursive: true })
