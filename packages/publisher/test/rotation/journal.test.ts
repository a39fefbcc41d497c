import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readRotation, runRotationSteps } from '../../src/rotation/journal.ts'
import type { Rotation, RotationStep } from '../../src/rotation/journal.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-rotation-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const nowMs = Date.UTC(2026, 10, 21)
class Killed extends Error {}

interface Counts {
  readonly counts: readonly number[]
}

const STEPS = ['one', 'two', 'three']
const rotation: Rotation<Counts> = {
  name: 'content',
  what: 'a test',
  orders: [STEPS],
  parse: (facts) => ({
    counts: STEPS.flatMap((_, index) => facts.optional(`after_${index}`, (name) => facts.integer(name, 0, 99)) ?? []),
  }),
  format: ({ counts }) => Object.fromEntries(counts.map((count, index) => [`after_${index}`, count])),
}

/** Three steps over a store whose effects are the same when repeated. */
function stepsOver(store: Map<string, number>): RotationStep<Counts>[] {
  return STEPS.map((name, index) => ({
    name,
    title: name,
    run: async ({ counts }) => {
      const before = index === 0 ? 0 : (counts[index - 1] ?? Number.NaN)
      store.set(name, before + 1)
      return { counts: [...counts.slice(0, index), before + 1] }
    },
  }))
}

describe('runRotationSteps()', () => {
  it('reaches the same end when it is killed after any step, before or after the journal knows', async () => {
    for (const stopAt of STEPS) {
      for (const moment of ['effect', 'begin'] as const) {
        const store = new Map<string, number>()
        const stop = (step: RotationStep<Counts>): void => {
          if (step.name === stopAt) throw new Killed()
        }
        const hooks = moment === 'effect' ? { afterEffect: stop } : { onStep: stop }
        const run = (more: object): Promise<{ state: Counts; resumed: boolean }> =>
          runRotationSteps(rotation, stepsOver(store), { folder, nowMs, ...more })
        await expect(run(hooks)).rejects.toBeInstanceOf(Killed)
        const { state, resumed } = await run({})
        expect([stopAt, moment, resumed]).toEqual([stopAt, moment, !(stopAt === 'one')])
        expect(state.counts).toEqual([1, 2, 3])
        expect([...store]).toEqual([
          ['one', 1],
          ['two', 2],
          ['three', 3],
        ])
        expect(await readdir(folder)).toEqual([])
      }
    }
  })

  it('does not repeat finished steps', async () => {
    const ran: string[] = []
    const store = new Map<string, number>()
    const stop = (step: RotationStep<Counts>): void => {
      if (step.name === 'three') throw new Killed()
    }
    const options = { folder, nowMs }
    await expect(runRotationSteps(rotation, stepsOver(store), { ...options, onStep: stop })).rejects.toBeInstanceOf(
      Killed,
    )
    expect((await readRotation(folder, rotation))?.done).toEqual(['one', 'two'])
    await runRotationSteps(rotation, stepsOver(store), { ...options, onStep: (step) => ran.push(step.name) })
    expect(ran).toEqual(['three'])
  })

  it('stops after a step that is named, and goes on from there', async () => {
    const store = new Map<string, number>()
    await runRotationSteps(rotation, stepsOver(store), { folder, nowMs, stopAfter: 'two' })
    expect([...store.keys()]).toEqual(['one', 'two'])
    expect(await runRotationSteps(rotation, stepsOver(store), { folder, nowMs })).toMatchObject({ resumed: true })
  })
})

describe('readRotation()', () => {
  const journal = (): string => join(folder, 'content.json')

  it('refuses a damaged journal: CLI_TURN_JOURNAL', async () => {
    for (const text of ['{"format":"keyturn-turn","version":1,"turn":"identity"}', '{', '[]', '', 'null']) {
      await writeFile(journal(), text)
      await expect(readRotation(folder, rotation), text).rejects.toMatchObject({ code: 'CLI_TURN_JOURNAL' })
    }
  })

  it('refuses a journal in which one character was changed', async () => {
    await runRotationSteps(rotation, stepsOver(new Map()), { folder, nowMs, stopAfter: 'two' })
    const text = await readFile(journal(), 'utf8')
    for (let at = 0; at < text.length; at += 1) {
      if (/\s/.test(text[at] ?? '')) continue
      await writeFile(journal(), `${text.slice(0, at)}${text[at] === 'x' ? 'y' : 'x'}${text.slice(at + 1)}`)
      await expect(readRotation(folder, rotation), `character ${at}`).rejects.toMatchObject({
        code: 'CLI_TURN_JOURNAL',
      })
    }
  })

  it('opens a journal of the first version, which had no digest', async () => {
    const facts = { after_0: 1 }
    const old = { format: 'keyturn-turn', version: 1, turn: 'content', started: '', done: ['one'], facts }
    await writeFile(journal(), JSON.stringify(old))
    expect(await readRotation(folder, rotation)).toMatchObject({ done: ['one'], state: { counts: [1] } })
    await writeFile(journal(), JSON.stringify({ ...old, facts: { ...facts, more: 1 } }))
    await expect(readRotation(folder, rotation)).rejects.toMatchObject({ code: 'CLI_TURN_JOURNAL' })
    await writeFile(journal(), JSON.stringify({ ...old, done: ['two'] }))
    await expect(readRotation(folder, rotation)).rejects.toMatchObject({ code: 'CLI_TURN_JOURNAL' })
  })
})
