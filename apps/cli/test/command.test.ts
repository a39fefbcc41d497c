import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyturnError, exitCodes } from '@keyturn/primitives'
import type { ErrorKind } from '@keyturn/primitives'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cli } from '../src/command.ts'
import type { CommandSpec } from '../src/command.ts'
import { CliError } from '../src/errors.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-command-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

class TestError extends KeyturnError<'TEST'> {
  override readonly name = 'TestError'
  constructor(kind: ErrorKind) {
    super({ TEST: { kind, meaning: '', remedy: '' } }, 'TEST', 'It failed', { details: { at: 7 }, hint: 'Try again' })
  }
}

interface Result {
  code: number
  stdout: string
  stderr: string
}

async function call(
  argv: string[],
  spec: Partial<CommandSpec<Record<string, unknown>>>,
  env: Record<string, string> = {},
): Promise<Result> {
  let stdout = ''
  let stderr = ''
  const program = new Command('keyturn').exitOverride().configureOutput({ writeErr: () => {} })
  const cli = new Cli(program, {
    stdout: {
      write: (text) => {
        stdout += text
      },
    },
    stderr: {
      write: (text) => {
        stderr += text
      },
    },
    env,
    signal: new AbortController().signal,
  })
  const noun = program.command('thing').description('a thing')
  cli.define(noun.command('do').option('--level <n>', 'level', '1').argument('[what]'), {
    example: 'keyturn thing do',
    run: () => ({ data: {} }),
    ...spec,
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (thrown) {
    await cli.fail(thrown, argv)
  }
  return { code: cli.exitCode, stdout, stderr }
}

describe('Cli.define()', () => {
  it('prints one JSON envelope under --json and nothing else on stdout', async () => {
    const run: CommandSpec<Record<string, unknown>>['run'] = (context) => {
      context.out.line('text')
      context.out.step('a', 'step')
      return { data: { n: 1, left_out: undefined }, text: 'done' }
    }
    const { code, stdout, stderr } = await call(['thing', 'do', '--json'], { run })
    expect(stdout).toBe('{"ok":true,"command":"thing do","data":{"n":1}}\n')
    expect([code, stderr]).toEqual([0, ''])
  })

  it('prints text without --json, and takes global flags before and after the command', async () => {
    const run: CommandSpec<Record<string, unknown>>['run'] = (context) => ({
      data: {},
      text: `home ${context.homeFolder}`,
    })
    expect((await call(['--home', '/a', 'thing', 'do'], { run })).stdout).toBe('home /a\n')
    expect((await call(['thing', 'do', '--home', '/b'], { run })).stdout).toBe('home /b\n')
    expect((await call(['thing', 'do'], { run }, { KEYTURN_HOME: '/c' })).stdout).toBe('home /c\n')
  })

  it('maps every kind of error to its exit code, with code, hint and details in the envelope', async () => {
    for (const [kind, exit] of Object.entries(exitCodes)) {
      const result = await call(['thing', 'do', '--json', '--home', folder], {
        run: () => {
          throw new TestError(kind as ErrorKind)
        },
      })
      expect(result.code).toBe(exit)
      expect(JSON.parse(result.stdout)).toMatchObject({
        ok: false,
        command: 'thing do',
        error: { code: 'TEST', hint: 'Try again', details: { at: 7 } },
      })
    }
  })

  it('answers no with exit code 1 and an envelope that is ok', async () => {
    const { code, stdout } = await call(['thing', 'do', '--json'], { run: () => ({ data: { due: 2 }, no: true }) })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ ok: true })
  })

  it('turns an unexpected error into exit code 70 with a report only its owner can read', async () => {
    const { code, stderr } = await call(['thing', 'do', '--home', folder], {
      run: () => {
        throw new TypeError('oops')
      },
    })
    expect(code).toBe(70)
    const id = /report it with the id ([0-9a-f]{10})/.exec(stderr)?.[1] ?? ''
    const [file] = await readdir(join(folder, 'reports'))
    expect(file).toBe(`keyturn-${id}.txt`)
    expect(await readFile(join(folder, 'reports', file ?? ''), 'utf8')).toContain('TypeError: oops')
  })

  it('gives network and disk errors of the platform a code', async () => {
    const network = new TypeError('fetch failed', {
      cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
    })
    expect(
      await call(['thing', 'do', '--json'], {
        run: () => {
          throw network
        },
      }),
    ).toMatchObject({ code: 3 })
    const missing = Object.assign(new Error('no'), { code: 'ENOENT', path: '/x\u001b' })
    const result = await call(['thing', 'do'], {
      run: () => {
        throw missing
      },
    })
    expect(result).toMatchObject({ code: 2 })
    expect(result.stderr).not.toContain('\u001b')
  })

  it('refuses --dry-run where the command has none, unknown flags and unknown commands with exit code 2', async () => {
    expect((await call(['thing', 'do', '--dry-run'], {})).code).toBe(2)
    expect((await call(['thing', 'do', '--nope', '--json'], {})).stdout).toContain('"code":"CLI_USAGE"')
    expect((await call(['thing', 'nope'], {})).code).toBe(2)
    expect((await call(['nothing'], {})).code).toBe(2)
  })

  it('runs clean-ups last first, also after a failure', async () => {
    const order: string[] = []
    await call(['thing', 'do'], {
      run: (context) => {
        context.defer(() => {
          order.push('first')
        })
        context.defer(() => {
          order.push('second')
        })
        throw new CliError('CLI_DECLINED', 'no')
      },
    })
    expect(order).toEqual(['second', 'first'])
  })

  it('warns of a clean-up that fails, runs the others, and leaves the answer as it was', async () => {
    const order: string[] = []
    const result = await call(['thing', 'do', '--json'], {
      run: (context) => {
        context.defer(() => {
          order.push('first')
        })
        context.defer(() => {
          throw Object.assign(new Error('no\u001b'), { code: 'ENOTEMPTY' })
        })
        return { data: { n: 1 } }
      },
    })
    expect(result.stdout).toBe('{"ok":true,"command":"thing do","data":{"n":1}}\n')
    expect(result.stderr).toMatch(/^warning: Cleaning up after the command failed: [^\u001b]*\(CLI_EXISTS\)\n$/)
    expect([result.code, order]).toEqual([0, ['first']])
  })

  it('takes defaults for a command from the configuration, and refuses settings it does not know', async () => {
    const file = join(folder, 'config.json')
    const run: CommandSpec<Record<string, unknown>>['run'] = (_context, options) => ({
      data: {},
      text: String(options['level']),
    })
    await writeFile(file, '{"commands":{"thing do":{"level":9}}}')
    expect((await call(['thing', 'do', '--config', file], { run })).stdout).toBe('9\n')
    expect((await call(['thing', 'do', '--config', file, '--level', '3'], { run })).stdout).toBe('3\n')
    await writeFile(file, '{"commands":{"thing do":{"size":9}}}')
    expect(await call(['thing', 'do', '--config', file, '--json'], { run })).toMatchObject({ code: 2 })
    await writeFile(file, '{"nope":1}')
    expect((await call(['thing', 'do', '--config', file, '--json'], { run })).stdout).toContain('CLI_CONFIG')
  })

  it('warns of a passphrase file that others can read', async () => {
    const run: CommandSpec<Record<string, unknown>>['run'] = async (context) => {
      await context.ask.passphrase('Passphrase')
      return { data: {} }
    }
    for (const [mode, warned] of [
      [0o644, true],
      [0o640, true],
      [0o600, false],
      [0o400, false],
    ] as const) {
      const file = join(folder, `p${mode}`)
      await writeFile(file, 'correct horse\n', { mode })
      const { code, stderr } = await call(['thing', 'do', '--passphrase-file', file], { run })
      expect([code, stderr.includes('Others can read')], String(mode)).toEqual([0, warned])
    }
  })

  it('asks nothing without a terminal: CLI_NO_TERMINAL', async () => {
    const run: CommandSpec<Record<string, unknown>>['run'] = async (context) => {
      await context.ask.passphrase('Passphrase')
      return { data: {} }
    }
    expect((await call(['thing', 'do', '--json'], { run })).stdout).toContain('CLI_NO_TERMINAL')
    await writeFile(join(folder, 'p'), 'correct horse\n')
    expect((await call(['thing', 'do', '--passphrase-file', join(folder, 'p')], { run })).code).toBe(0)
    await writeFile(join(folder, 'p'), '\n')
    expect((await call(['thing', 'do', '--passphrase-file', join(folder, 'p')], { run })).code).toBe(2)
  })
})
