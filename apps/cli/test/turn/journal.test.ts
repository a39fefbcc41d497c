import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readTurn, runTurn } from '@keyturn/publisher/rotation'
import type { TurnStep } from '@keyturn/publisher/rotation'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-turn-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const now = '2026-11-21T00:00:00Z'
class Killed extends Error {}

/** Three steps over a store whose effects are the same when repeated. */
function stepsOver(store: Map<string, number>): TurnStep[] {
  return ['one', 'two', 'three'].map((name, index) => ({
    name,
    title: name,
    run: async (facts) => {
      const before = index === 0 ? 0 : Number(facts[`after_${index - 1}`])
      store.set(name, before + 1)
      return { [`after_${index}`]: before + 1 }
    },
  }))
}

describe('runTurn()', () => {
  it('reaches the same end when it is killed after any step, before or after the journal knows', async () => {
    for (const stopAt of ['one', 'two', 'three']) {
      for (const moment of ['effect', 'begin'] as const) {
        const store = new Map<string, number>()
        const stop = (step: TurnStep): void => {
          if (step.name === stopAt) throw new Killed()
        }
        const hooks = moment === 'effect' ? { afterEffect: stop } : { onStep: stop }
        await expect(runTurn('content', stepsOver(store), { folder, now, ...hooks })).rejects.toBeInstanceOf(Killed)
        const { facts, resumed } = await runTurn('content', stepsOver(store), { folder, now })
        expect([stopAt, moment, resumed]).toEqual([stopAt, moment, !(stopAt === 'one')])
        expect(facts['after_2']).toBe(3)
        expect([...store]).toEqual([
          ['one', 1],
          ['two', 2],
          ['three', 3],
        ])
        expect(await readdir(folder)).toEqual([])
      }
    }
  })

  it('does not repeat steps that are over', async () => {
    const ran: string[] = []
    const store = new Map<string, number>()
    const stop = (step: TurnStep): void => {
      if (step.name === 'three') throw new Killed()
    }
    await expect(runTurn('content', stepsOver(store), { folder, now, onStep: stop })).rejects.toBeInstanceOf(Killed)
    expect((await readTurn(folder, 'content'))?.done).toEqual(['one', 'two'])
    await runTurn('content', stepsOver(store), { folder, now, onStep: (step) => ran.push(step.name) })
    expect(ran).toEqual(['three'])
  })

  it('refuses a damaged journal', async () => {
    await writeFile(join(folder, 'content.json'), '{"format":"keyturn-turn","version":1,"turn":"identity"}')
    await expect(runTurn('content', [], { folder, now })).rejects.toMatchObject({ code: 'CLI_TURN_JOURNAL' })
    await writeFile(join(folder, 'content.json'), '{')
    await expect(runTurn('content', [], { folder, now })).rejects.toMatchObject({ code: 'CLI_TURN_JOURNAL' })
  })
})
