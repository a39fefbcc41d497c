import { Command } from 'commander'
import { Cli, type CliEnvironment } from '../command.ts'
import { registerPackVerbs } from '../commands/pack.ts'
import { version } from '../version.ts'

/**
 * Runs one command line of `m2pack`, with the flags of the C++ packer.
 *
 * @param argv - The words after the program's name.
 * @param environment - Streams, variables and the signal that stops it.
 * @returns The exit code.
 */
export async function runM2pack(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  const program = new Command('m2pack')
    .description('Build, verify, list, compare and extract .m2p archives.')
    .version(version(), '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void environment.stdout.write(text),
      writeErr: (text) => {
        if (text.startsWith('Usage:')) environment.stderr.write(text)
      },
    })
  const cli = new Cli(program, environment)
  try {
    registerPackVerbs(program, cli)
    await program.parseAsync([...argv], { from: 'user' })
  } catch (thrown) {
    await cli.fail(thrown, argv)
  }
  return cli.exitCode
}
