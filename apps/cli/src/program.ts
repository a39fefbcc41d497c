import type { Command } from 'commander'
import { Cli } from './command.ts'
import type { CliEnvironment } from './command.ts'
import { nouns } from './commands/index.ts'
import type { Noun } from './commands/index.ts'
import { rootCommand } from './root-command.ts'

/** Flags before the noun that take a value. */
const VALUE_FLAGS = new Set(['--home', '--config', '--passphrase-file', '--passphrase-fd'])

/**
 * Runs one command line.
 *
 * @param argv - The words after the program's name.
 * @param environment - Streams, variables and the signal that stops it.
 * @returns The exit code.
 */
export async function run(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  const program = rootCommand(
    { name: 'keyturn', description: 'Ship releases whose every key can be rotated.' },
    environment,
    argv,
  )
  program.helpCommand('help [command]', 'show help for a command')
  program.commandsGroup('Tools:')
  const cli = new Cli(program, environment, { run, register: registerAll })
  try {
    await registerNouns(program, cli, firstNoun(argv))
    await program.parseAsync([...argv], { from: 'user' })
  } catch (thrown) {
    await cli.fail(thrown, argv)
  }
  return cli.exitCode
}

/** Loads the module of the noun in use; the others are names with a summary, enough for `--help`. */
async function registerNouns(program: Command, cli: Cli, inUse: string | undefined): Promise<void> {
  for (const noun of nouns) {
    if (noun.name === inUse) (await noun.load())(program, cli)
    else program.command(noun.name).description(noun.summary).allowUnknownOption().allowExcessArguments()
    program.commands.at(-1)?.helpGroup(`${noun.group}:`)
  }
}

/**
 * Loads every noun: for completions, man pages and tests that look at the whole command tree.
 *
 * @param program - The root command.
 * @param cli - The wrapper.
 * @param names - Which ones; all without it.
 */
export async function registerAll(program: Command, cli: Cli, names: readonly Noun[] = nouns): Promise<void> {
  for (const noun of names) (await noun.load())(program, cli)
}

function firstNoun(argv: readonly string[]): string | undefined {
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? ''
    if (VALUE_FLAGS.has(word)) at += 1
    else if (word === 'help') continue
    else if (!word.startsWith('-')) return word
  }
  return undefined
}
