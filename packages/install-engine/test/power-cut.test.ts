import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createEngine } from '../src/index.ts'
import { patienceMs } from './support/campaign.ts'
import { expectedText, offline, temporaryFolder, treeFetch, treeText } from './support/install.ts'
import { PowerCut } from './support/power-cut.ts'
import { noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'

const cuts = Number(process.env['KEYTURN_POWER_CUTS'] ?? '25')
const seed = Number(process.env['KEYTURN_SEED'] ?? '20261121')

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
  'moves/here.bin': noise(300_000, 21),
}
const after = {
  'a.txt': 'a2',
  'b/b.txt': 'b2',
  'new/deep/n.txt': 'n',
  'twin.txt': 'n',
  'big.bin': changed(),
  'moved/there.bin': noise(300_000, 21),
  'run.sh': { bytes: new Uint8Array([35]), executable: true },
}

/** Numbers from 0 to 1 that a seed decides. */
function chanceOf(start: number): () => number {
  let state = start >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

async function scene() {
  const publisher = await Publisher.create()
  const old = await publisher.release(before)
  const start = await temporaryFolder('fast')
  const engineOn = (folder: string, options: Partial<Parameters<typeof createEngine>[0]> = {}) =>
    createEngine({
      folder,
      server: 'http://releases.test/',
      trust: publisher.trust,
      fetch: treeFetch(publisher.tree),
      clock: () => NOW + 60_000,
      logFile: false,
      lockPatienceMs: 0,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
      ...options,
    })
  await engineOn(start).update()
  const made = await publisher.release(after)
  return { start, engineOn, from: expectedText(old.files, sha256Hex), to: expectedText(made.files, sha256Hex) }
}

async function copyOf(start: string): Promise<string> {
  const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'keyturn-power-'))
  await cp(start, folder, { recursive: true, preserveTimestamps: true })
  return folder
}

describe('a power cut', () => {
  it(
    `at ${cuts} moments of an update leaves the old or the new release, and once it said "updated", the new one (row 208)`,
    async () => {
      const { start, engineOn, from, to } = await scene()
      const counted = await copyOf(start)
      const whole = new PowerCut(counted)
      await engineOn(counted, { fs: whole.fs }).update()
      const sides = { old: 0, new: 0 }
      console.info(`seed ${seed}, ${whole.calls} calls that change the disk`)
      for (let cut = 0; cut < cuts; cut++) {
        const chance = chanceOf(seed + cut)
        chance()
        const at = cut % 4 === 0 ? whole.calls + 10 : Math.floor(chance() * (whole.calls + 1))
        const running = await copyOf(start)
        const disk = new PowerCut(running, at)
        const saidSo = await engineOn(running, { fs: disk.fs })
          .update()
          .then(
            () => true,
            () => false,
          )
        const folder = await copyOf(start)
        await rm(folder, { recursive: true })
        await disk.cut(folder, cut % 2 === 0 ? undefined : chance)
        const where = `cut ${cut} at call ${at} of ${whole.calls}, seed ${seed}`
        for (const name of ['lock', 'staging.lock']) await rm(join(folder, '.updates', name), { force: true })
        await engineOn(folder, { fetch: offline })
          .update()
          .catch(() => undefined)
        const tree = await treeText(folder)
        const side = tree === from ? 'old' : tree === to ? 'new' : undefined
        expect(side, `mixed after ${where}:\n${tree}`).toBeDefined()
        if (saidSo) expect(side, where).toBe('new')
        sides[side as 'old' | 'new'] += 1
        await engineOn(folder).update()
        expect(await treeText(folder), where).toBe(to)
        for (const made of [running, folder]) await rm(made, { recursive: true })
      }
      await rm(counted, { recursive: true })
      console.info(`power cuts: ${cuts}, old afterwards: ${sides.old}, new afterwards: ${sides.new}`)
      expect(sides.old).toBeGreaterThan(0)
      expect(sides.new).toBeGreaterThan(0)
    },
    patienceMs,
  )
})
