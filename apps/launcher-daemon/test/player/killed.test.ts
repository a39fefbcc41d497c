import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../../../packages/install-engine/test/support/install.ts'
import { buildFor, canBuild, fileOf } from '../support/built-launcher.ts'
import { StudioServer } from '../support/studio.ts'

const run = promisify(execFile)
const injection = fileURLToPath(new URL('../support/kill-at-step.cjs', import.meta.url))
const loader = fileURLToPath(new URL('../../dist/player/loader.cjs', import.meta.url))
/** More steps than this would be a loop. */
const MOST_STEPS = 200

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

interface Ended {
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
}

async function ending(file: string, args: readonly string[], env: Record<string, string>): Promise<Ended> {
  return await run(file, args, { env }).then(
    ({ stdout }) => ({ signal: null, stdout }),
    (error: { signal?: NodeJS.Signals; stdout?: string; stderr?: string }) => {
      if (error.signal !== 'SIGKILL') throw error
      return { signal: error.signal, stdout: error.stdout ?? '' }
    },
  )
}

/** A bundle that says its name and does not confirm itself. */
const bundle = (name: string): string => `exports.startPlayer = () => process.stdout.write(${JSON.stringify(name)})`

/** What the loader asks of the executable around it, for the loader's script in a plain Node. */
const HOST = `
const sea = process.getBuiltinModule('node:sea')
const assets = { 'player.json': JSON.stringify({ id: 'my-game', version: '1.0.0' }), bundle: ${JSON.stringify(bundle('embedded'))} }
sea.getAsset = (name) => assets[name]
process.execPath = process.env.KEYTURN_ROOT + '/my-game'
`

describe('the loader, killed before any of its steps (row 376)', () => {
  const build = (name: string, version: string) => ({ sha256: hash(bundle(name)), version, node: 24 })
  const states = {
    'nothing was installed yet': undefined,
    'a new bundle was never started': { ...build('new', '1.2.0'), confirmed: false, tries: 0 },
    'a new bundle failed once': {
      ...build('new', '1.2.0'),
      confirmed: false,
      tries: 1,
      previous: build('good', '1.1.0'),
    },
    'a new bundle follows a good one': {
      ...build('new', '1.2.0'),
      confirmed: false,
      tries: 0,
      previous: build('good', '1.1.0'),
    },
  }

  it.each(Object.entries(states))('starts a whole bundle afterwards when %s', async (_title, pointer) => {
    const root = await temporaryFolder()
    const host = join(root, 'host.cjs')
    writeFileSync(host, HOST)
    const start = async (step?: number): Promise<Ended> =>
      await ending(process.execPath, ['--require', injection, '--require', host, loader], {
        KEYTURN_ROOT: root,
        ...(step === undefined ? {} : { KEYTURN_STEP: String(step) }),
      })
    const fallback = pointer === undefined || !('previous' in pointer) ? 'embedded' : 'good'
    let steps = 0
    for (; steps < MOST_STEPS; steps += 1) {
      rmSync(join(root, '.launcher'), { recursive: true, force: true })
      if (pointer !== undefined) {
        mkdirSync(join(root, '.launcher'), { mode: 0o700 })
        for (const name of ['new', 'good'])
          writeFileSync(join(root, `.launcher/${hash(bundle(name))}.cjs`), bundle(name))
        writeFileSync(join(root, '.launcher/current.json'), JSON.stringify(pointer))
      }
      const { signal } = await start(steps)
      if (signal === null) break
      const started = [await start(), await start(), await start()].map(({ stdout }) => stdout)
      // Never none, never one that is neither; and what does not live is given up in the end.
      for (const name of started) expect(['new', fallback]).toContain(name)
      expect(started.at(-1)).toBe(fallback)
    }
    expect(steps).toBeGreaterThanOrEqual(pointer === undefined ? 1 : 4)
  })
})

describe.skipIf(!canBuild)(
  'a launcher that is killed while it points its next start to a new version (row 376)',
  () => {
    let studio: StudioServer
    let file: string
    let own: string

    beforeAll(async () => {
      studio = await StudioServer.start()
      const kept = await mkdtemp(join(tmpdir(), 'keyturn-killed-'))
      const built = await buildFor(studio, kept)
      file = fileOf(built, 'executable')
      own = readFileSync(join(built.updateTree, 'player.cjs'), 'utf8')
      await studio.release('1.0.0', { 'game.sh': '#!/bin/sh\nexit 0\n' })
      return async () => {
        await studio.close()
        rmSync(kept, { recursive: true, force: true })
      }
    })

    /** The real launcher, which says its version when asked, and dies at a step when told so. */
    function build(version: string): string {
      const tell = `if (process.env.KEYTURN_WHICH) { process.stdout.write('${version}'); process.exit(0) }`
      return `"use strict";${tell};(() => {${readFileSync(injection, 'utf8')}})();\n${own}`
    }

    it('starts with the old or the new version after each kill, and updates in the end', async () => {
      const folder = dirname(file)
      const state = join(folder, '.launcher')
      const env = { HOME: folder, PATH: '/nonexistent' }
      const pointer = (): { version?: string; confirmed?: boolean } =>
        existsSync(join(state, 'current.json'))
          ? (JSON.parse(readFileSync(join(state, 'current.json'), 'utf8')) as { version?: string; confirmed?: boolean })
          : {}
      /** A double-click. It ends by the kill, or by Quit once `isDone`. */
      const session = async (isDone: () => boolean, step?: number): Promise<NodeJS.Signals | null> => {
        rmSync(join(state, 'api.json'), { force: true })
        const child = spawn(file, [], {
          env: { ...env, ...(step === undefined ? {} : { KEYTURN_STEP: String(step) }) },
          stdio: 'ignore',
        })
        const ended = new Promise<NodeJS.Signals | null>((resolve) =>
          child.once('exit', (_code, signal) => resolve(signal)),
        )
        let isOver = false
        void ended.then(() => (isOver = true))
        while (!isOver && !isDone()) await new Promise((resolve) => setTimeout(resolve, 20))
        if (!isOver) await (await studio.apiOf(state)).post('quit', {}).catch(() => undefined)
        return await ended
      }
      const which = async (): Promise<string> => (await run(file, [], { env: { ...env, KEYTURN_WHICH: '1' } })).stdout

      await studio.release('1.1.0', { 'player.cjs': build('1.1.0') }, 'launcher')
      await session(() => pointer().version === '1.1.0')
      await session(() => pointer().confirmed === true || existsSync(join(state, 'api.json')))
      expect(pointer()).toMatchObject({ version: '1.1.0', confirmed: true })
      const before = join(await temporaryFolder(), 'before')
      cpSync(state, before, { recursive: true })
      await studio.release('1.2.0', { 'player.cjs': build('1.2.0') }, 'launcher')
      const reset = (from: string): void => {
        rmSync(state, { recursive: true })
        cpSync(from, state, { recursive: true })
      }
      const isUpdated = (): boolean => pointer().version === '1.2.0' && existsSync(join(state, 'api.json'))
      const litter = await temporaryFolder()
      /**
       * Kills the launcher at each step of what `isDone` ends, from one state; which version starts after each kill.
       */
      const killedAtEachStep = async (from: string, isDone: () => boolean): Promise<string[]> => {
        const seen: string[] = []
        for (let step = 0; step < MOST_STEPS; step += 1) {
          reset(from)
          if ((await session(isDone, step)) === null) break
          for (const name of leftOver(state)) cpSync(join(state, name), join(litter, name))
          seen.push(await which())
        }
        return seen
      }
      const pointing = await killedAtEachStep(before, isUpdated)
      console.log(`killed at ${pointing.length} steps of an update: ${pointing.join(' ')}`)
      expect(new Set(pointing)).toEqual(new Set(['1.1.0', '1.2.0']))
      expect(pointing.length).toBeGreaterThan(8)
      // What the kills left in the place, halves of bundles and of pointers, is in nobody's way, and goes.
      expect(readdirSync(litter).length).toBeGreaterThan(5)
      reset(before)
      cpSync(litter, state, { recursive: true })
      await session(isUpdated)
      const unconfirmed = join(await temporaryFolder(), 'unconfirmed')
      cpSync(state, unconfirmed, { recursive: true })
      const isServed = (): boolean => existsSync(join(state, 'api.json'))
      const confirming = await killedAtEachStep(unconfirmed, isServed)
      console.log(`killed at ${confirming.length} steps of confirming it: ${confirming.join(' ')}`)
      expect(confirming.length).toBeGreaterThan(3)
      expect(new Set(confirming)).toEqual(new Set(['1.2.0']))
      await session(isServed)
      expect(pointer()).toMatchObject({ version: '1.2.0', confirmed: true })
      expect(await which()).toBe('1.2.0')
      expect(leftOver(state)).toEqual([])
    }, 900_000)
  },
)

function leftOver(state: string): string[] {
  return readdirSync(state).filter((name) => /^\..*\.tmp$|\.new$/.test(name))
}
