// The local interface of a launcher: started for an install, asked as its page asks it, and stopped.
// Run: node examples/daemon.ts
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDaemon } from '@keyturn/launcher-daemon'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-example-'))
const daemon = await startDaemon({
  folder,
  settings: { server: 'https://releases.example/', trust: `key:${'ab'.repeat(32)}` },
  engine: { fetch: () => Promise.reject(new TypeError('no server')), retry: { tries: 1 } },
  check: false, // a real one looks for updates by itself
})
const answer = await fetch(`${daemon.address}api/status`, { headers: { authorization: `Bearer ${daemon.token}` } })
const { state, version, isRunning } = (await answer.json()) as { state: string; version?: string; isRunning: boolean }
console.log(`daemon: ${state}, installed: ${version ?? 'nothing'}, client runs: ${isRunning}`)

const stranger = await fetch(`${daemon.address}api/status`)
console.log(`without its token: ${stranger.status}`)
await daemon.close()
await rm(folder, { recursive: true })
