import { Cli } from '../command.ts'
import type { CliEnvironment } from '../command.ts'
import { registerPackVerbs } from '../commands/pack/index.ts'
import { rootCommand } from '../root-command.ts'

/**
 * Runs one command line of `m2pack`, with the flags of the C++ packer.
 *
 * @param argv - The words after the program's name.
 * @param environment - Streams, variables and the signal that stops it.
 * @returns The exit code.
 */
export async function runM2pack(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  const program = rootCommand(
    { name: 'm2pack', description: 'Build, verify, list, compare and extract .m2p archives.' },
    environment,
    argv,
  )
  const cli = new Cli(program, environment)
  try {
    registerPackVerbs(program, cli)
    await program.parseAsync([...argv], { from: 'user' })
  } catch (thrown) {
    await cli.fail(thrown, argv)
  }
  return cli.exitCode
}
