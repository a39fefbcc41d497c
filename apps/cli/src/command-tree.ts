import { Command } from 'commander'
import { Cli } from './command.ts'
import type { CommandLine } from './command.ts'
import { collect } from './flags/values.ts'

/** A flag as completions and manuals show it. */
export interface FlagDescription {
  /** `--home`. */
  readonly long: string
  /** `-q`, when there is one. */
  readonly short: string | undefined
  /** `<dir>`; empty when the flag takes no value. */
  readonly value: string
  readonly description: string
  /** The values it may have, when they are few. */
  readonly choices: readonly string[]
  /** The command does not run without it. */
  readonly required: boolean
  /** It may be given several times. */
  readonly repeatable: boolean
}

/** A positional argument. */
export interface ArgumentDescription {
  readonly name: string
  readonly required: boolean
  readonly variadic: boolean
  readonly description: string
}

/** A command and what is below it. */
export interface CommandDescription {
  /** `keyturn`, `m2pack`. */
  readonly program: string
  /** `pack build`; empty for the program itself. */
  readonly path: string
  readonly summary: string
  readonly flags: readonly FlagDescription[]
  readonly args: readonly ArgumentDescription[]
  /** Text after the options in `--help`: the examples. */
  readonly examples: readonly string[]
  /** `--dry-run` says what it would do. */
  readonly dryRun: boolean
  readonly commands: readonly CommandDescription[]
}

/** Loads every noun and describes the whole command line of `keyturn`. */
export async function describeCommandLine({ register }: Pick<CommandLine, 'register'>): Promise<CommandDescription> {
  return await describeProgram('keyturn', 'Ship releases whose every key can be rotated.', register)
}

/** Describes the command line of `m2pack`. */
export async function describeM2pack(): Promise<CommandDescription> {
  return await describeProgram(
    'm2pack',
    'Build, verify, list, compare and extract .m2p archives.',
    async (program, cli) => {
      const { registerPackVerbs } = await import('./commands/pack/index.ts')
      registerPackVerbs(program, cli)
    },
  )
}

async function describeProgram(
  name: string,
  description: string,
  register: (program: Command, cli: Cli) => Promise<void>,
): Promise<CommandDescription> {
  const program = new Command(name).description(description)
  const silent = { write: () => true }
  const cli = new Cli(program, { stdout: silent, stderr: silent, env: {}, signal: new AbortController().signal })
  await register(program, cli)
  return describe(program, '', cli)
}

/** Every command below one, the deepest too, in order. */
export function flattenCommands(root: CommandDescription): CommandDescription[] {
  return [root, ...root.commands.flatMap(flattenCommands)]
}

function programName(command: Command): string {
  return command.parent === null ? command.name() : programName(command.parent)
}

function describe(command: Command, path: string, cli: Cli): CommandDescription {
  return {
    program: programName(command),
    path,
    summary: command.description(),
    examples: cli.examplesOf(command),
    dryRun: cli.hasDryRun(command),
    flags: command.options
      .filter((option) => !option.hidden)
      .map((option) => ({
        long: option.long ?? '',
        short: option.short,
        value: /[<[].*$/.exec(option.flags)?.[0] ?? '',
        description: option.description,
        choices: option.argChoices ?? [],
        required: option.mandatory,
        repeatable: option.variadic || option.parseArg === collect,
      })),
    args: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      required: argument.required,
      variadic: argument.variadic,
      description: argument.description,
    })),
    commands: command.commands
      .filter((child) => child.name() !== 'help')
      .map((child) => describe(child, path === '' ? child.name() : `${path} ${child.name()}`, cli)),
  }
}
