import { expect, it } from 'vitest'
import { describeM2pack } from '../src/command-tree.ts'
import type { CommandDescription } from '../src/command-tree.ts'
import { nouns } from '../src/commands/index.ts'
import { describeCommands } from '../src/describe-commands.ts'

/** The verbs that a summary may start with. A new one is added by hand, so that somebody reads the sentence. */
const VERBS = new Set(
  (
    'act add announce answer ask attest build change check compare copy create derive end extract find finish forget ' +
    'give import let link list lock make offer open pack practise prepare print promote protect prove publish put read remove ' +
    'repeat replace report restore revoke rotate run save seal serve set show sign stop take unlock unpack update ' +
    'upload verify write say'
  ).split(' '),
)
const LONGEST = 100

function all(command: CommandDescription): CommandDescription[] {
  return [command, ...command.commands.flatMap(all)]
}

it('a summary starts with a verb, is one short line, and has no period at its end', async () => {
  const commands = [...(await describeCommands()).commands, ...(await describeM2pack()).commands].flatMap(all)
  const summaries = [
    ...commands.map(({ path, summary }) => ({ path, summary })),
    ...nouns.map(({ name, summary }) => ({ path: name, summary })),
  ]
  expect(summaries.length).toBeGreaterThan(120)
  const wrong = summaries.filter(
    ({ summary }) =>
      !VERBS.has(/^[a-z]+/.exec(summary)?.[0] ?? '') || summary.length > LONGEST || /[.\n]$/.test(summary),
  )
  expect(wrong).toEqual([])
})
