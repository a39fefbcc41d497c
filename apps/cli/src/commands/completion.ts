import type { Command } from 'commander'
import { Argument } from 'commander'
import { describeCommandLine } from '../command-tree.ts'
import type { Cli } from '../command.ts'
import { completionScript, shells } from '../completion-script.ts'
import type { Shell } from '../completion-script.ts'

/** Registers `keyturn completion <shell>`. */
export function registerCompletion(program: Command, cli: Cli): void {
  const completion = program
    .command('completion')
    .description('print a completion script for your shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
  cli.define(completion, {
    example: [
      'keyturn completion bash > ~/.local/share/bash-completion/completions/keyturn',
      'keyturn completion fish | source',
    ],
    run: async (_context, _options, [shell]) => {
      const script = completionScript(await describeCommandLine(cli.commandLine), shell as Shell)
      return { data: { shell: shell ?? '', script }, raw: script }
    },
  })
}
