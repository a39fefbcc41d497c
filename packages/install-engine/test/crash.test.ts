import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { faultFileSystem } from '@keyturn/primitives/testing'
import type { FaultFileSystem, FaultPlan, RecordedOperation } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { createEngine } from '../src/index.ts'
import type { EngineEvent, Fetch } from '../src/index.ts'
import { patienceMs } from './support/campaign.ts'
import { expectedText, offline, temporaryFolder, treeFetch, treeText } from './support/install.ts'
import { noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'
import type { MadeRelease } from './support/publisher.ts'

const everyNth = Number(process.env['KEYTURN_CRASH_STEP'] ?? '3')
const faultNth = Number(process.env['KEYTURN_FAULT_STEP'] ?? '13')
const nestedNth = Number(process.env['KEYTURN_CRASH_NESTED'] ?? '13')
const thirdNth = Number(process.env['KEYTURN_CRASH_THIRD'] ?? '11')

const big = noise(400_000, 3)
function changed(): Uint8Array {
  const bytes = big.slice()
  bytes.set(noise(50, 9), 200_000)
  return bytes
}
const before = {
  'a.txt': 'a1',
  'b/b.txt': 'b1',
  'b/gone.txt': 'gone',
  'empty-later/only.txt': 'x',
  'big.bin': big,
  'same.txt': 'same',
}
const after = {
  'a.txt': 'a2',
  'b/b.txt': 'b2',
  'new/deep/n.txt': 'n',
  'new/twin.txt': 'n',
  'big.bin': changed(),
  'same.txt': 'same',
  'run.sh': { bytes: new Uint8Array([35]), executable: true },
}

interface Scene {
  readonly publisher: Publisher
  readonly start: string
  readonly from: string
  readonly to: string
  readonly old: MadeRelease
}

/** An install of the first release, and a server that has the second. */
async function scene(): Promise<Scene> {
  const publisher = await Publisher.create()
  const old = await publisher.release(before)
  const start = await temporaryFolder('fast')
  await engineOn(publisher, start, treeFetch(publisher.tree)).update()
  const made = await publisher.release(after)
  return { publisher, start, old, from: expectedText(old.files, sha256Hex), to: expectedText(made.files, sha256Hex) }
}

function engineOn(
  { trust }: Pick<Publisher, 'trust'>,
  folder: string,
  fetch: Fetch,
  { fs, onEvent }: { fs?: FaultFileSystem | undefined; onEvent?: (event: EngineEvent) => void } = {},
) {
  return createEngine({
    folder,
    server: 'http://releases.test/',
    trust,
    fetch,
    clock: () => NOW + 60_000,
    logFile: false,
    lockPatienceMs: 0,
    retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    ...(fs === undefined ? {} : { fs }),
    ...(onEvent === undefined ? {} : { onEvent }),
  })
}

/** What the system does when a process dies: its lock is free again. */
async function dead(folder: string): Promise<void> {
  for (const name of ['lock', 'staging.lock']) await rm(join(folder, '.updates', name), { force: true })
}

async function copyOf(start: string): Promise<string> {
  const folder = await temporaryFolder('fast')
  await cp(start, folder, { recursive: true, preserveTimestamps: true })
  return folder
}

/** Runs the update on a failing disk; tells whether the fault came. */
async function updateWith(folder: string, publisher: Publisher, plan: FaultPlan): Promise<FaultFileSystem> {
  const fs = faultFileSystem({ plan })
  await engineOn(publisher, folder, treeFetch(publisher.tree), { fs })
    .update()
    .catch(() => undefined)
  return fs
}

/** Only recovers: without a server nothing else happens. Gives the codes of the notices on the way. */
async function recoverOn(
  publisher: Pick<Publisher, 'trust'>,
  folder: string,
  fs?: FaultFileSystem,
): Promise<readonly string[]> {
  const codes: string[] = []
  const onEvent = (event: EngineEvent): void => void (event.type === 'notice' && codes.push(event.code))
  await expect(engineOn(publisher, folder, offline, { fs, onEvent }).update()).rejects.toBeDefined()
  return codes
}

async function checkWhole(folder: string, { from, to }: Scene, where: string): Promise<'old' | 'new'> {
  const tree = await treeText(folder)
  const side = tree === from ? 'old' : tree === to ? 'new' : undefined
  expect(side, `mixed after ${where}:\n${tree}`).toBeDefined()
  expect(existsSync(join(folder, '.updates/txn.json')), `journal left after ${where}`).toBe(false)
  const state = JSON.parse(await readFile(join(folder, '.updates/state.json'), 'utf8')) as {
    installed: { version: string }
  }
  expect(state.installed.version, where).toBe(side === 'old' ? '2026.11.21-1' : '2026.11.21-2')
  return side as 'old' | 'new'
}

function isLock(path: string): boolean {
  return path.includes('/.updates/lock') || path.includes('/.updates/staging.lock')
}

/** A second recovery touches nothing but its own lock. */
async function checkSettled(publisher: Pick<Publisher, 'trust'>, folder: string, where: string): Promise<void> {
  const fs = faultFileSystem({})
  await recoverOn(publisher, folder, fs)
  expect(
    fs.operations.filter(({ path }) => !isLock(path)),
    `second recovery after ${where}`,
  ).toEqual([])
}

/** Which crash point of docs/spec/launcher.md §4 a call of an update belongs to. */
function pointOf(call: RecordedOperation | undefined, folder: string, isDecided: boolean): string | undefined {
  if (call === undefined) return undefined
  const { name, path } = call
  const inside = path.startsWith(`${folder}/.updates/`) ? path.slice(folder.length + 10) : undefined
  if (inside?.startsWith('lock')) return 'C0'
  if (inside?.startsWith('trust/')) return isDecided ? 'C9' : /head|manifests/.test(inside) ? 'C2' : 'C1'
  if (inside?.includes('hashcache.bin')) return isDecided ? undefined : 'C3'
  if (inside?.startsWith('staging/') && !isDecided) return name === 'rename' ? 'C5' : 'C4'
  if (inside?.includes('txn.json')) return name === 'rm' ? 'C10' : 'C6'
  if (inside?.includes('state.json') || inside?.includes('current-manifest') || inside?.includes('steps.json'))
    return 'C9'
  if (name === 'rename' && isDecided) return inside === undefined ? 'C8 or C7, old file set aside' : 'C7'
  return undefined
}

describe('an update that is killed once at', () => {
  it(
    'each crash point from C0 to C10 is old or new afterwards (rows 205, 206)',
    async () => {
      const stage = await scene()
      const counted = await copyOf(stage.start)
      const { operations } = await updateWith(counted, stage.publisher, { at: 1e9, mode: 'crash' })
      const decided = operations.findIndex(({ name, path }) => name === 'rename' && path.includes('.txn.json.'))
      const points = new Map<string, number[]>()
      for (const [at, call] of operations.entries()) {
        const point = pointOf(call, counted, at > decided)
        if (point !== undefined) points.set(point, [...(points.get(point) ?? []), at])
      }
      for (const needed of [
        'C0',
        'C1',
        'C2',
        'C3',
        'C4',
        'C5',
        'C6',
        'C7',
        'C8 or C7, old file set aside',
        'C9',
        'C10',
      ])
        expect([...points.keys()], needed).toContain(needed)
      for (const [point, calls] of points) {
        for (const at of new Set([calls[0], calls.at(-1)])) {
          const folder = await copyOf(stage.start)
          await updateWith(folder, stage.publisher, { at: at as number, mode: 'crash' })
          await dead(folder)
          const notices = await recoverOn(stage.publisher, folder)
          if (point === 'C7') expect(notices).toContain('LA_RECOVERED')
          const side = await checkWhole(folder, stage, `${point}, call ${at}`)
          expect([point, at, side]).toEqual([point, at, (at as number) <= decided ? 'old' : 'new'])
          await rm(folder, { recursive: true, force: true })
        }
      }
      console.info(
        [...points]
          .map(([point, calls]) => `${point}: ${calls.length} calls`)
          .sort()
          .join(', '),
      )
    },
    patienceMs,
  )

  it(
    'C12, the confirmation of a start, counts that start as failed; C13, a new launcher, leaves the old file or the ' +
      'new one',
    async () => {
      const publisher = await Publisher.create()
      const launcher = noise(300_000, 31)
      const sha256 = sha256Hex(launcher)
      publisher.tree.set(`files/${sha256.slice(0, 2)}/${sha256}`, launcher)
      await publisher.release(
        { 'client.mjs': 'process.exit(0)' },
        { build: { launcher: { path: 'launcher.exe', sha256, size: launcher.length } } },
      )
      const folder = await temporaryFolder('fast')
      await engineOn(publisher, folder, treeFetch(publisher.tree)).update()
      let written = 0
      const fs = faultFileSystem({
        plan: { at: 0, mode: 'crash' },
        counts: ({ name, path }) => name === 'rename' && path.includes('.state.json.') && written++ === 1,
      })
      const started = await createEngine({
        folder,
        server: 'http://releases.test/',
        trust: publisher.trust,
        fetch: treeFetch(publisher.tree),
        clock: () => NOW + 60_000,
        logFile: false,
        program: ['client.mjs'],
        fs,
      }).launch({ update: false, stdio: ['ignore', 'ignore', 'ignore'] })
      await started.confirmed.catch(() => undefined)
      expect(fs.fired).toBe(true)
      expect(await engineOn(publisher, folder, offline).status()).toMatchObject({ confirmed: false, failedStarts: 1 })
      await dead(folder)
      for (let at = 0; ; at += 3) {
        const target = join(folder, '.updates/launcher.exe')
        await writeFile(target, 'old')
        const dying = faultFileSystem({ plan: { at, mode: 'crash' } })
        await engineOn(publisher, folder, treeFetch(publisher.tree), { fs: dying })
          .fetchLauncher(target)
          .catch(() => undefined)
        expect(['old', launcher.length]).toContain(
          await readFile(target).then((bytes) => (bytes.length === 3 ? 'old' : bytes.length)),
        )
        await dead(folder)
        if (!dying.fired) break
      }
    },
    patienceMs,
  )
})

describe('an update that is killed', () => {
  it(
    'at any call that changes the disk leaves the old or the new release, never a mixture (rows 205, 206)',
    async () => {
      const stage = await scene()
      const sides = { old: 0, new: 0 }
      let points = 0
      for (let at = 0; ; at += everyNth) {
        const folder = await copyOf(stage.start)
        const fs = await updateWith(folder, stage.publisher, { at, mode: 'crash' })
        if (!fs.fired) break
        points += 1
        const call = fs.operations.at(-1)
        const where = `call ${at} (${call?.name ?? ''} ${call?.path.split('/.updates/').at(-1) ?? ''})`
        await dead(folder)
        await recoverOn(stage.publisher, folder)
        sides[await checkWhole(folder, stage, where)] += 1
        await checkSettled(stage.publisher, folder, where)
        await engineOn(stage.publisher, folder, treeFetch(stage.publisher.tree)).update()
        expect(await treeText(folder), where).toBe(stage.to)
        await rm(folder, { recursive: true, force: true })
      }
      console.info(`crash points: ${points}, old afterwards: ${sides.old}, new afterwards: ${sides.new}`)
      expect(points * everyNth).toBeGreaterThan(80)
      expect(Math.min(sides.old, sides.new)).toBeGreaterThan(5)
    },
    patienceMs,
  )

  it(
    'and killed again in its recovery, at any call, still leaves the old or the new one (row 207)',
    async () => {
      const stage = await scene()
      const total = await updateWith(await copyOf(stage.start), stage.publisher, { at: 1e9, mode: 'crash' })
      const decided = total.operations.findIndex(({ name, path }) => name === 'rename' && path.includes('.txn.json.'))
      expect(decided).toBeGreaterThan(0)
      const killed = [0, 0]
      // Before the decision a recovery has next to nothing to do, so every call of the update counts there only in a
      // campaign.
      for (let at = nestedNth === 1 ? 0 : decided - 2; at < total.operations.length; at += nestedNth) {
        const crashed = await copyOf(stage.start)
        await updateWith(crashed, stage.publisher, { at, mode: 'crash' })
        await dead(crashed)
        await killRecovery(crashed, stage, `call ${at}`, killed)
        await rm(crashed, { recursive: true, force: true })
      }
      console.info(`nested crash points: ${killed[0]} pairs, ${killed[1]} triples`)
      expect(Math.min(...killed)).toBeGreaterThan(0)
    },
    patienceMs,
  )
})

/** Kills the recovery at its calls, and the recovery of that again; what is found at the end is whole. */
async function killRecovery(crashed: string, stage: Scene, where: string, killed: number[], depth = 0): Promise<void> {
  for (let at = 0; ; at += depth === 0 ? nestedNth : thirdNth) {
    const folder = await copyOf(crashed)
    const fs = faultFileSystem({ plan: { at, mode: 'crash' } })
    await recoverOn(stage.publisher, folder, fs)
    if (!fs.fired) return await rm(folder, { recursive: true, force: true })
    killed[depth] = (killed[depth] ?? 0) + 1
    await dead(folder)
    const here = `${where}, then call ${at} of the recovery`
    if (depth === 0) await killRecovery(folder, stage, here, killed, 1)
    await recoverOn(stage.publisher, folder)
    await checkWhole(folder, stage, here)
    await rm(folder, { recursive: true, force: true })
  }
}

describe.each(['ENOSPC', 'EIO', 'EACCES', 'EXDEV'])('a disk that answers %s', (code) => {
  it(
    'once at any call leaves the old or the new release and its reason (row 211)',
    async () => {
      const stage = await scene()
      for (let at = 0; ; at += faultNth) {
        const folder = await copyOf(stage.start)
        const fs = faultFileSystem({ plan: { at, mode: 'fail', code } })
        const error = await engineOn(stage.publisher, folder, treeFetch(stage.publisher.tree), { fs })
          .update()
          .then(
            () => undefined,
            (thrown: unknown) => thrown,
          )
        if (!fs.fired) break
        const where = `call ${at} (${fs.operations[at]?.name ?? ''} ${fs.operations[at]?.path ?? ''})`
        if (error !== undefined) expect(error, where).toMatchObject({ code: expect.stringMatching(/^LA_/) as string })
        expect(fs.openHandles, where).toBe(0)
        await dead(folder)
        await recoverOn(stage.publisher, folder)
        await checkWhole(folder, stage, where)
        await rm(folder, { recursive: true, force: true })
      }
    },
    patienceMs,
  )
})

describe('a full disk', () => {
  it(
    'for good from any call on leaves the old release, or the new one after the decision (row 209)',
    async () => {
      const stage = await scene()
      for (let at = 0; ; at += faultNth) {
        const folder = await copyOf(stage.start)
        const fs = faultFileSystem({
          plan: { at, mode: 'fail', code: 'ENOSPC', lasting: true },
          counts: ({ name }) =>
            name === 'handle.write' || name === 'handle.writeFile' || name === 'mkdir' || name === 'handle.sync',
        })
        await engineOn(stage.publisher, folder, treeFetch(stage.publisher.tree), { fs })
          .update()
          .catch(() => undefined)
        if (!fs.fired) break
        await dead(folder)
        await recoverOn(stage.publisher, folder)
        await checkWhole(folder, stage, `call ${at}`)
        await rm(folder, { recursive: true, force: true })
      }
    },
    patienceMs,
  )

  it(
    'that takes only half of a write never gives a short file its name (row 209)',
    async () => {
      const stage = await scene()
      for (let at = 0; at < 40; at += 2) {
        const folder = await copyOf(stage.start)
        const fs = faultFileSystem({ plan: { at, mode: 'short-write' }, counts: ({ name }) => name === 'handle.write' })
        await engineOn(stage.publisher, folder, treeFetch(stage.publisher.tree), { fs })
          .update()
          .catch(() => undefined)
        await dead(folder)
        await recoverOn(stage.publisher, folder)
        await checkWhole(folder, stage, `write ${at}`)
        await rm(folder, { recursive: true, force: true })
        if (!fs.fired) break
      }
    },
    patienceMs,
  )
})
