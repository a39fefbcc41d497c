// A process of launchers for "keyturn drill": each install has an engine of its own, looks for updates, and is played.

import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { KeyturnError } from '@keyturn/primitives'
import { playToEnd } from '../played.ts'
import type { DrillInstall, LauncherCommand, LauncherReport, LauncherStart } from './launcher-messages.ts'

const visits: Extract<LauncherCommand, { type: 'visit' }>[] = []
const wakeUps = new Set<() => void>()
let isOver = false

function report(message: LauncherReport): void {
  process.send?.(message)
}

function codeOf(error: unknown): string {
  return error instanceof KeyturnError ? error.code : String(error)
}

function engineOf(start: LauncherStart, { folder }: DrillInstall, server: string): Engine {
  return createEngine({
    folder,
    server,
    trust: start.trust,
    product: start.product,
    channel: start.channel,
    program: [...start.program, folder],
    confirmAfterMs: 1,
    lockWaitMs: 10_000,
    retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
  })
}

async function check(name: string, engine: Engine): Promise<void> {
  const startedMs = Date.now()
  let [code, downloadedBytes] = ['', 0]
  try {
    downloadedBytes = (await engine.update()).downloadedBytes
  } catch (error) {
    code = codeOf(error)
  }
  const { version, rolesVersion } = await engine.status()
  report({ type: 'check', launcher: name, startedMs, version, rolesVersion, downloadedBytes, code })
}

/** Starts the client as a player does, and reads what it says of its archives. */
async function play({ name, folder }: DrillInstall, engine: Engine): Promise<void> {
  let problem = ''
  try {
    const { exit, text } = await playToEnd(engine, `${folder}.out`, {
      update: false,
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    if (exit !== 0 || !text.includes('"ok":true')) problem = `exit ${exit}: ${text.trim().slice(0, 200)}`
  } catch (error) {
    problem = codeOf(error)
  }
  report({ type: 'play', launcher: name, problem })
}

async function visit(start: LauncherStart, install: DrillInstall, id: number, server: string): Promise<void> {
  const engine = engineOf(start, install, server)
  const before = (await engine.status()).version
  let code = ''
  try {
    await engine.update()
  } catch (error) {
    code = codeOf(error)
  }
  const isChanged = (await engine.status()).version !== before
  report({ type: 'visited', id, launcher: install.name, isChanged, code })
}

async function live(start: LauncherStart): Promise<void> {
  while (!isOver) {
    for (const install of start.installs) {
      const engine = engineOf(start, install, start.server)
      await check(install.name, engine)
      await play(install, engine)
    }
    for (const { id, server } of visits.splice(0))
      for (const install of start.installs) await visit(start, install, id, server)
    await pause(start.checkMs)
  }
  process.disconnect()
}

/** Ends early when there is something to do. */
async function pause(ms: number): Promise<void> {
  if (isOver || visits.length > 0) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    wakeUps.add(() => {
      clearTimeout(timer)
      resolve()
    })
  })
  wakeUps.clear()
}

process.title = 'keyturn-drill'
process.on('message', (command: LauncherCommand) => {
  if (command.type === 'start') void live(command)
  else if (command.type === 'visit') visits.push(command)
  else isOver = true
  for (const wake of wakeUps) wake()
})
process.once('disconnect', () => process.exit(0))
