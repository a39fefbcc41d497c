import { writeFile } from 'node:fs/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { flattenCommands } from '../src/command-tree.ts'
import { describeCommands } from '../src/describe-commands.ts'
import type { CommandDescription } from '../src/command-tree.ts'
import { completionScript } from '../src/completion-script.ts'
import { isInstalled, Terminal } from './support/terminal.ts'

const hasTmux = isInstalled('tmux', 'completions are not tried with Tab')
let root: CommandDescription
beforeAll(async () => {
  root = await describeCommands()
})

let terminal: Terminal
beforeEach(async () => {
  terminal = await Terminal.open()
})
afterEach(async () => {
  await terminal.close()
})

/** How each shell is started without files of the user's, and reads the script. */
const shells = {
  bash: { command: ['bash', '--norc', '--noprofile'], read: "PS1='ready> '; source ./script; clear" },
  zsh: {
    command: ['zsh', '-f'],
    read: "PROMPT='ready> '; autoload -Uz compinit && compinit -u -d ./dump; source ./script; clear",
  },
  fish: {
    command: ['fish', '--no-config'],
    read: "function fish_prompt; echo 'ready> '; end; set -g fish_greeting; source ./script; clear",
  },
} as const

describe.each(Object.keys(shells) as (keyof typeof shells)[])('completions in %s', (shell) => {
  const skipped = !hasTmux || !isInstalled(shell, `its completions are not tried`)

  it.skipIf(skipped)('complete nouns, verbs and flags when Tab is pressed', async () => {
    await writeFile(terminal.path('script'), completionScript(root, shell))
    await terminal.start(...shells[shell].command)
    await terminal.type(shells[shell].read)
    await terminal.press('Enter')
    await terminal.screen(/^ready> *\n*$/)
    await terminal.type('keyturn stat')
    await terminal.press('Tab')
    await terminal.screen(/keyturn status *$/m)
    await terminal.type('--che')
    await terminal.press('Tab')
    await terminal.screen(/keyturn status +--check *$/m)
    await terminal.press('C-u')
    await terminal.type('keyturn --json release pre')
    await terminal.press('Tab')
    await terminal.screen(/release +prepare *$/m)
    await terminal.type('--notes')
    await terminal.press('Tab')
    await terminal.screen(/prepare +--notes-file *$/m)
    await terminal.press('C-u')
    await terminal.type('keyturn vault audit ver')
    await terminal.press('Tab')
    expect(await terminal.screen(/audit +verify *$/m)).toContain('keyturn vault audit verify')
  })
})

// PowerShell is packaged nowhere that the tests run: what can be checked without it is the form of the script.
describe('completions in PowerShell', () => {
  it('are one native completer with a well-formed table of every command', () => {
    const script = completionScript(root, 'powershell')
    expect(script).toContain('Register-ArgumentCompleter -Native -CommandName keyturn -ScriptBlock {')
    const entries = [...script.matchAll(/^ {4}'((?:[^']|'')*)' = @\(('(?:[^']|'')*'(?:, '(?:[^']|'')*')*)\)$/gm)]
    expect(entries.map((entry) => entry[1])).toEqual(flattenCommands(root).map(({ path }) => path))
    const bare = script.replaceAll(/'(?:[^']|'')*'|"[^"]*"|#.*$/gm, '')
    for (const [open, close] of ['{}', '()', '[]'])
      expect(bare.split(open as string).length, open).toBe(bare.split(close as string).length)
    expect(bare).not.toMatch(/['"]/)
  })
})
