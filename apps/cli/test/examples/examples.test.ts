import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { flattenCommands } from '../../src/command-tree.ts'
import { describeCommands } from '../../src/describe-commands.ts'
import { ExampleWorld } from './example-world.ts'
import { notRun, placeholders, plans } from './plans.ts'

const examples = flattenCommands(await describeCommands()).flatMap((command) => command.examples)
let template: ExampleWorld
beforeAll(async () => {
  template = await ExampleWorld.build()
})
afterAll(async () => {
  await template?.remove()
})

describe.concurrent('every example of --help', () => {
  for (const example of examples.filter((line) => !(line in notRun))) {
    const { needs } = plans[example] ?? {}
    it.skipIf(needs !== undefined && spawnSync(needs, ['--version']).status !== 0)(`runs: ${example}`, async () => {
      const world = await template.copy()
      const { before = '', until, shell, exit = 0, instead = {} } = plans[example] ?? {}
      try {
        let line = example
        for (const [word, meant] of Object.entries({ ...instead, ...(await placeholders(world)) }))
          line = line.replaceAll(word, meant)
        if (before !== '') {
          const prepared = await world.run(before)
          expect(prepared.code, `${before}\n${prepared.stdout}${prepared.stderr}`).toBe(0)
        }
        const outcome = await world.run(line, { until, shell })
        expect(outcome.code, `${line}\n${outcome.stdout}${outcome.stderr}`).toBe(exit)
      } finally {
        await world.remove()
      }
    })
  }
})

describe('the plans of examples', () => {
  it('are of examples that exist, and so are those that are not run, each with a reason', () => {
    expect([...Object.keys(plans), ...Object.keys(notRun)].filter((line) => !examples.includes(line))).toEqual([])
    // Each is run elsewhere, as its reason says.
    expect(Object.keys(notRun).map((line) => line.split(' ')[1])).toEqual(['drill', 'drill', 'demo'])
  })
})
