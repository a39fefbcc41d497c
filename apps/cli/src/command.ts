// How a command is added. One file per command, commands/<noun>/<verb>.ts (commands/<verb>.ts for a command without a
// noun), exporting `register<Noun><Verb>(noun, cli)`:
//
//   export function registerExplain(program: Command, cli: Cli): void {
//     const explain = program.command('explain [code]').description('say what an error code means')
//     cli.define<ExplainOptions>(explain, {
//       example: 'keyturn explain M2P_SIGNATURE',
//       run: (context, options, [code]) => ({ data: {…}, text: '…' }),
//     })
//   }
//
// plus one line in the noun's index.ts, or in the table of commands/index.ts, which loads only the noun in use. `run`
// returns what it found and throws errors of the packages as they come; it never writes to stdout, never sets an exit
// code, never catches to log. `data` becomes the JSON envelope's data, `text` what a person reads, `no` makes the exit
// code 1. Secrets come from `context.ask`, never from a flag's value. `--dry-run` is refused unless `dryRun: true` says
// that `run` looks at `context.dryRun`. What has to be closed or wiped goes to `context.defer`.
//
// What a command does with keys and releases is in @keyturn/publisher; `context` is its host. Flags that several
// commands share are in flags/.

import { resolve } from 'node:path'
import { exitCodes, printable, systemClock } from '@keyturn/primitives'
import type { KeyturnError, Clock, JsonObject, JsonValue } from '@keyturn/primitives'
import { CommanderError } from 'commander'
import type { Command } from 'commander'
import { unlockedPassphrase } from './agent/ask-agent.ts'
import { Ask } from './ask.ts'
import { runCleanUps } from './clean-ups.ts'
import type { CleanUp } from './clean-ups.ts'
import { applyCommandDefaults, readConfig } from './config.ts'
import type { Config } from './config.ts'
import { CliError, toKeyturnError } from './errors.ts'
import { hintOf } from './hints.ts'
import { defaultHomeFolder } from '@keyturn/publisher'
import type { PublisherHost } from '@keyturn/publisher'
import { Output } from './output.ts'
import type { TextStream } from './output.ts'
import { writeReport } from './report.ts'
import { unknownFlag, usageError } from './usage-error.ts'

/** Data of a JSON envelope. Members that are undefined are left out. */
export type CommandData = Readonly<Record<string, JsonValue | undefined>>

/** What a command found or did. */
export interface CommandResult {
  /** Goes into the JSON envelope. Holds no secret. */
  readonly data: CommandData
  /** What a person reads on stdout; without it nothing is printed. */
  readonly text?: string | undefined
  /** The question was answered, and the answer is no: exit code 1. */
  readonly no?: boolean | undefined
  /** The command came to an end and failed all the same: `data` is printed beside the error. */
  readonly failure?: KeyturnError | undefined
  /** The result was printed by the command itself (completion scripts); `--json` still prints the envelope. */
  readonly raw?: string | undefined
}

/** What a command is given to work with; the host of everything below in `@keyturn/publisher`. */
export interface Context extends PublisherHost {
  /** `pack build`: the words after `keyturn`. */
  readonly name: string
  /** Speaks to people and programs. */
  readonly out: Output
  /** Asks for passphrases and confirmations. */
  readonly ask: Ask
  /** Aborted by Ctrl-C and SIGTERM: pass it on to whatever takes long. */
  readonly signal: AbortSignal
  /** Say what would be done and change nothing. */
  readonly dryRun: boolean
  /** `--quiet`. */
  readonly quiet: boolean
  /** The folder of `--home`; it may not exist yet. */
  readonly homeFolder: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Milliseconds since the epoch. */
  readonly clock: Clock
  /** Answers now, for commands that go on running (`serve`): what `run` returns is not printed any more. */
  announce(result: CommandResult): void
  /** As {@link Ask.passphrase}: what a {@link PublisherHost} is asked for. */
  passphrase: PublisherHost['passphrase']
  /** As {@link Output.step}. */
  onStep: PublisherHost['onStep']
  /** As {@link Output.warn}. */
  warn: PublisherHost['warn']
  /** Runs when the command is over, last registered first, whatever happened. */
  defer(cleanUp: CleanUp): void
}

/** A command: its example in `--help` and what it does. */
export interface CommandSpec<Options> {
  /** At least one working call, shown by `--help`. */
  readonly example: string | readonly string[]
  /** The command honours `context.dryRun`. */
  readonly dryRun?: boolean
  /** Does the work. `args` are the positional arguments in order; a missing optional one is undefined. */
  run(context: Context, options: Options, args: readonly (string | undefined)[]): Promise<CommandResult> | CommandResult
}

/** Flags understood before and after every command. */
export interface GlobalFlags {
  readonly json?: boolean | undefined
  readonly events?: boolean | undefined
  readonly quiet?: boolean | undefined
  readonly color: boolean
  readonly home?: string | undefined
  readonly config?: string | undefined
  readonly yes?: boolean | undefined
  readonly dryRun?: boolean | undefined
  readonly passphraseFile?: string | undefined
  readonly passphraseFd?: string | undefined
}

/** What the process gives to the command line; tests give their own. */
export interface CliEnvironment {
  readonly stdout: TextStream
  readonly stderr: TextStream
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock?: Clock | undefined
  /** Aborted when the user stops the program. */
  readonly signal: AbortSignal
}

/** The whole command line, for commands that describe it or run others of it. */
export interface CommandLine {
  run(argv: readonly string[], environment: CliEnvironment): Promise<number>
  /** Loads every noun and registers it. */
  register(program: Command, cli: Cli): Promise<void>
}

/** One run of a command, before it knows its context. */
interface Call {
  readonly name: string
  readonly flags: GlobalFlags
  readonly config: Config
  readonly out: Output
  readonly homeFolder: string
  readonly cleanUps: CleanUp[]
}

/** Runs commands: the one place that turns results into output and errors into exit codes. */
export class Cli {
  /** The exit code so far. */
  exitCode = 0
  readonly #environment: CliEnvironment
  readonly #program: Command
  readonly #commandLine: CommandLine | undefined
  readonly #examples = new Map<Command, readonly string[]>()
  readonly #dryRuns = new Set<Command>()

  /**
   * @param program - The root command; gets the global flags.
   * @param environment - Streams, variables and the signal that stops the program.
   * @param commandLine - What the command is part of; commands that need it are not defined without.
   */
  constructor(program: Command, environment: CliEnvironment, commandLine?: CommandLine) {
    this.#program = program
    this.#environment = environment
    this.#commandLine = commandLine
    addGlobalFlags(program)
  }

  /** The whole command line that this command is part of. */
  get commandLine(): CommandLine {
    if (this.#commandLine === undefined) throw new TypeError('This program has no command line of its own')
    return this.#commandLine
  }

  /**
   * Makes a commander command run through the wrapper.
   *
   * @param command - With its arguments, options and description.
   * @param spec - Example and action.
   * @returns The command.
   */
  define<Options>(command: Command, spec: CommandSpec<Options>): Command {
    const lines = typeof spec.example === 'string' ? [spec.example] : spec.example
    // The verbs of archives are those of a second program too.
    const examples =
      this.#program.name() === 'm2pack' ? lines.map((line) => line.replace(/^keyturn pack /, 'm2pack ')) : lines
    this.#examples.set(command, examples)
    if (spec.dryRun === true) this.#dryRuns.add(command)
    command.addHelpText(
      'after',
      `\nExample${examples.length > 1 ? 's' : ''}:\n${examples.map((line) => `  $ ${line}`).join('\n')}`,
    )
    command.action(async () => {
      await this.#execute(command, spec)
    })
    return command
  }

  /** The examples of a command, as `--help` shows them. */
  examplesOf(command: Command): readonly string[] {
    return this.#examples.get(command) ?? []
  }

  /** Whether a command honours `--dry-run`. */
  hasDryRun(command: Command): boolean {
    return this.#dryRuns.has(command)
  }

  /**
   * Reports an error that no command caught, a usage error of the parser for instance.
   *
   * @param thrown - The value caught.
   * @param argv - The words of the command line, to learn whether JSON was asked for.
   */
  async fail(thrown: unknown, argv: readonly string[]): Promise<void> {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return
    const words = argv
      .filter((word) => !word.startsWith('-'))
      .slice(0, 2)
      .map((word) => printable(word, 40))
    const error = thrown instanceof CommanderError ? usageError(thrown, unknownFlag(this.#program, argv)) : thrown
    const flags = {
      json: argv.includes('--json'),
      events: false,
      quiet: false,
      color: argv.includes('--no-color') === false,
    }
    await this.#report(
      words.join(' '),
      error,
      new Output(flags, this.#environment.stdout, this.#environment.stderr),
      undefined,
    )
  }

  async #execute<Options>(command: Command, spec: CommandSpec<Options>): Promise<void> {
    const flags = this.#program.opts<GlobalFlags>()
    const name = commandName(command)
    const out = new Output(
      outputFlags(flags, this.#environment.env),
      this.#environment.stdout,
      this.#environment.stderr,
    )
    const cleanUps: CleanUp[] = []
    let homeFolder: string | undefined
    try {
      const config = await readConfig(flags.config, this.#environment.env)
      applyCommandDefaults(command, name, config)
      homeFolder = resolve(
        flags.home ?? this.#environment.env['KEYTURN_HOME'] ?? config.home ?? defaultHomeFolder(this.#environment.env),
      )
      if (flags.dryRun === true && spec.dryRun !== true) {
        throw new CliError('CLI_USAGE', `"keyturn ${name}" has no --dry-run: it changes nothing that would need one`)
      }
      const context = this.#context({ name, flags, config, out, homeFolder, cleanUps })
      const args = command.processedArgs as readonly (string | undefined)[]
      let announced = false
      const announce = (early: CommandResult): void => {
        announced = true
        this.#answer(name, early, out)
      }
      const result = await spec.run({ ...context, announce }, command.opts() as Options, args)
      if (!announced) this.#answer(name, result, out)
    } catch (thrown) {
      await this.#report(name, thrown, out, homeFolder)
    } finally {
      await runCleanUps(cleanUps, (text) => out.warn(text))
    }
  }

  #context({ name, flags, config, out, homeFolder, cleanUps }: Call): Omit<Context, 'announce'> {
    const { signal, env } = this.#environment
    const passphraseFile =
      flags.passphraseFile ?? this.#environment.env['KEYTURN_PASSPHRASE_FILE'] ?? config.passphraseFile
    const ask = new Ask({
      passphraseFile: flags.passphraseFd === undefined ? passphraseFile : flags.passphraseFile,
      passphraseFd: flags.passphraseFd === undefined ? undefined : descriptorNumber(flags.passphraseFd),
      yes: flags.yes === true,
      signal,
      warn: (text) => out.warn(text),
      fromAgent: async () => await unlockedPassphrase({ homeFolder, env }),
    })
    cleanUps.push(() => ask.forget())
    return {
      name,
      out,
      ask,
      signal,
      homeFolder,
      env,
      dryRun: flags.dryRun === true,
      quiet: flags.quiet === true,
      clock: this.#environment.clock ?? systemClock,
      passphrase: (label, question) => ask.passphrase(label, question),
      onStep: (step, text, facts) => out.step(step, text, facts),
      warn: (text) => out.warn(text),
      defer: (cleanUp) => void cleanUps.push(cleanUp),
    }
  }

  #answer(name: string, result: CommandResult, out: Output): void {
    const { failure } = result
    const data = withoutUndefined(result.data)
    if (out.json && failure !== undefined)
      out.object({ ok: false, command: name, error: errorBody(failure, failure.details, hintOf(failure, name)), data })
    else if (out.json) out.object({ ok: true, command: name, data })
    else if (result.raw !== undefined) this.#environment.stdout.write(result.raw)
    else if (result.text !== undefined && result.text !== '') out.line(result.text)
    if (failure !== undefined) {
      if (!out.json) this.#errorText(failure, hintOf(failure, name), out)
      this.exitCode = Math.max(this.exitCode, exitCodes[failure.kind])
    }
    if (result.no === true) this.exitCode = Math.max(this.exitCode, exitCodes.no)
  }

  async #report(name: string, thrown: unknown, out: Output, homeFolder: string | undefined): Promise<void> {
    const error = toKeyturnError(thrown)
    this.exitCode = Math.max(this.exitCode, exitCodes[error.kind])
    const report = error.kind === 'bug' ? await writeReport(error, name, homeFolder) : undefined
    const details = { ...error.details, ...(report === undefined ? {} : { report_id: report.id, report: report.path }) }
    const hint =
      hintOf(error, name) ??
      (report === undefined ? undefined : `Please report it with the id ${report.id}; details are in ${report.path}`)
    if (out.json) out.object({ ok: false, command: name, error: errorBody(error, details, hint) })
    else this.#errorText(error, hint, out)
  }

  #errorText(error: KeyturnError, hint: string | undefined, out: Output): void {
    out.error(error.message, { sgr: '31', text: 'error:' })
    out.error(`  ${error.code}${hint === undefined ? '' : `: ${hint}`}`)
  }
}

function errorBody(
  error: KeyturnError,
  details: Readonly<Record<string, string | number>>,
  hint: string | undefined,
): JsonObject {
  return withoutUndefined({
    code: error.code,
    message: error.message,
    hint,
    details: Object.keys(details).length === 0 ? undefined : details,
  })
}

function addGlobalFlags(program: Command): void {
  program
    .option('--json', 'print one JSON object and nothing else on stdout')
    .option('--events', 'print steps and progress as JSON lines on stderr')
    .option('-q, --quiet', 'print results only, neither steps nor progress')
    .option('--no-color', 'use no color (as does the variable NO_COLOR)')
    .option(
      '--home <dir>',
      "the folder with your keys and log (default: $KEYTURN_HOME, else the platform's data folder)",
    )
    .option('--config <file>', 'a JSON file with defaults for flags (default: $KEYTURN_CONFIG)')
    .option('-y, --yes', 'answer every confirmation with yes')
    .option('--dry-run', 'say what would be done and change nothing')
    .option('--passphrase-file <file>', 'read the passphrase from a file that holds it alone')
    .option('--passphrase-fd <n>', 'read the passphrase from an open file descriptor')
}

function outputFlags(
  flags: GlobalFlags,
  env: Readonly<Record<string, string | undefined>>,
): {
  json: boolean
  events: boolean
  quiet: boolean
  color: boolean
} {
  const noColor = env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== ''
  return {
    json: flags.json === true,
    events: flags.events === true,
    quiet: flags.quiet === true,
    color: flags.color && !noColor,
  }
}

function commandName(command: Command): string {
  const words: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent) words.unshift(at.name())
  return words.join(' ')
}

function descriptorNumber(text: string): number {
  const fd = Number(text)
  if (!Number.isInteger(fd) || fd < 0 || fd > 1023)
    throw new CliError('CLI_USAGE', `--passphrase-fd wants a descriptor number, not "${printable(text)}"`)
  return fd
}

function withoutUndefined(record: CommandData): Record<string, JsonValue> {
  const kept: Record<string, JsonValue> = {}
  for (const [key, value] of Object.entries(record)) if (value !== undefined) kept[key] = value
  return kept
}
