import { Command } from 'commander'
import type { CliEnvironment } from './command.ts'
import { version } from './version.ts'

/** What differs between the programs of this package. */
export interface RootOptions {
  readonly name: string
  readonly description: string
}

/**
 * The root command of a program: it reports nothing by itself and never ends the process.
 *
 * @param options - Name and description.
 * @param environment - Streams.
 * @param argv - The words of the command line: with `--json` no help is shown in place of a missing command.
 */
export function rootCommand(
  { name, description }: RootOptions,
  environment: CliEnvironment,
  argv: readonly string[],
): Command {
  const asksJson = argv.includes('--json')
  return new Command(name)
    .description(description)
    .version(version(), '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void environment.stdout.write(text),
      writeErr: (text) => {
        // The wrapper reports errors; what the parser shows in place of a missing command is its help.
        if (text.startsWith('Usage:') && !asksJson) environment.stderr.write(text)
      },
      getOutHelpWidth: () => environment.stdout.columns ?? 80,
      getErrHelpWidth: () => environment.stderr.columns ?? 80,
    })
}
