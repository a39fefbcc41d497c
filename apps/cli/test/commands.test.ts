import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeM2pack, flattenCommands } from '../src/command-tree.ts'
import { describeCommands } from '../src/describe-commands.ts'
import type { CommandDescription } from '../src/command-tree.ts'
import { nouns } from '../src/commands/index.ts'
import { completionScript, shells } from '../src/completion-script.ts'
import { manPage } from '../src/man-page.ts'
import { isInstalled } from './support/terminal.ts'

const run = promisify(execFile)
let root: CommandDescription
let commands: CommandDescription[]

beforeAll(async () => {
  root = await describeCommands()
  commands = flattenCommands(root).filter((command) => command.path !== '')
})

/** Words of a shell line, quotes removed; what follows a pipe or redirection is the shell's. */
function wordsOf(line: string): string[] {
  return (line.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll(/^["']|["']$/g, ''))
}

describe('every command', () => {
  it('has a summary, and an example that names it and uses flags that exist', () => {
    const globals = new Set(root.flags.flatMap(({ long, short }) => [long, short]))
    for (const command of commands) {
      expect(command.summary, command.path).not.toBe('')
      if (command.commands.length > 0) continue
      expect(command.examples.length, `${command.path} has no example`).toBeGreaterThan(0)
      const known = new Set(command.flags.flatMap(({ long, short }) => [long, short]))
      expect(
        command.examples.some((example) => example.includes(`keyturn ${command.path}`)),
        command.path,
      ).toBe(true)
      for (const example of command.examples.filter((line) => line.startsWith('keyturn '))) {
        const words = wordsOf(example.split(/ -- | && | > | \| /)[0] ?? '')
        for (const word of words.filter((part) => /^--?[a-z]/i.test(part))) {
          const flag = word.split('=')[0] ?? ''
          expect(known.has(flag) || globals.has(flag), `${example}: ${flag}`).toBe(true)
        }
      }
    }
  })

  it('shows in --help what the table of nouns says', () => {
    expect(root.commands.map(({ path }) => path)).toEqual(nouns.map(({ name }) => name))
  })

  it('takes no passphrase, key or token as the value of a flag', () => {
    for (const { path, flags } of commands) {
      for (const { long, value } of flags) {
        if (/pass(phrase|word)|secret|token/.test(long) && value !== '')
          expect(`${path} ${long} ${value}`).toMatch(/<(file|n|dir)>/)
      }
    }
  })
})

describe('manPage()', () => {
  it('holds every command with its flags and examples, and nothing that roff would take for a request', () => {
    const page = manPage(root, '1.2.3')
    for (const { path, commands: below } of commands)
      if (below.length === 0) expect(page).toContain(`.SS keyturn ${path.replaceAll('-', '\\-')}`)
    const requests = /^\.(TH|SH|SS|TP|B|I|RI|PP|RS|RE|nf|fi)( |$)/
    expect(page.split('\n').filter((line) => line.startsWith('.') && !requests.test(line))).toEqual([])
  })

  it.skipIf(!isInstalled('groff', 'manual pages are not set'))(
    'is set by groff without a warning, m2pack too',
    async () => {
      for (const description of [root, await describeM2pack()]) {
        const { stdout, stderr, status } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-rLL=78n'], {
          input: manPage(description, '1.2.3'),
          encoding: 'utf8',
        })
        expect([status, stderr]).toEqual([0, ''])
        expect(stdout.replaceAll(/\u001b\[[0-9;]*m/g, '')).toContain(`${description.program} - `)
      }
    },
  )

  it('shows for m2pack the examples of m2pack', async () => {
    const page = manPage(await describeM2pack(), '1.2.3')
    expect(page).toContain('m2pack keygen \\-\\-out\\-dir keys')
    expect(page).not.toContain('keyturn pack')
  })
})

describe('completionScript()', () => {
  it('knows every command in every shell', () => {
    for (const shell of shells) {
      const script = completionScript(root, shell)
      for (const { path } of commands) expect(script, `${shell} ${path}`).toContain(path)
    }
  })

  it('completes in bash: nouns, verbs, and flags of the command and of the program', async () => {
    const script = completionScript(root, 'bash')
    const complete = async (...words: string[]): Promise<string[]> => {
      const list = words.map((word) => `'${word}'`).join(' ')
      const { stdout } = await run('bash', [
        '-c',
        `${script}\nCOMP_WORDS=(keyturn ${list}); COMP_CWORD=${words.length}; _keyturn; printf '%s\\n' ` +
          `"\${COMPREPLY[@]}"`,
      ])
      return stdout.trim().split('\n')
    }
    expect(await complete('sta')).toEqual(['status'])
    expect(await complete('--json', 'pack', 'bu')).toEqual(['build'])
    expect(await complete('release', 'prepare', '--no')).toContain('--notes-file')
    expect(await complete('status', '--')).toEqual(expect.arrayContaining(['--check', '--json', '--home']))
  })
})
