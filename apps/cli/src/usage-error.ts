import { printable } from '@keyturn/primitives'
import type { KeyturnError } from '@keyturn/primitives'
import type { Command, CommanderError } from 'commander'
import { CliError } from './errors.ts'

/**
 * A flag that the command does not have: where a required one is misspelled, people look for the one they wrote.
 *
 * @param program - The root command.
 * @param argv - The words of the command line.
 */
export function unknownFlag(program: Command, argv: readonly string[]): string | undefined {
  let command = program
  for (const word of argv)
    command = command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word)) ?? command
  const known = [...program.options, ...command.options].flatMap(({ long, short }) => [long, short])
  return argv
    .map((word) => word.split('=')[0] ?? '')
    .find((word) => /^--[a-z]/.test(word) && word !== '--help' && !known.includes(word))
}

/** An error of the parser as one of ours. */
export function usageError(error: CommanderError, unknown: string | undefined): KeyturnError {
  if (error.code === 'commander.missingMandatoryOptionValue' && unknown !== undefined)
    return new CliError('CLI_USAGE', `Unknown option '${printable(unknown, 60)}'`, {
      hint: 'Run the command with --help',
      cause: error,
    })
  const message = error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')
  if (error.code === 'commander.help')
    return new CliError('CLI_USAGE', 'No command given', { hint: 'Give one of the commands that the help lists' })
  return new CliError('CLI_USAGE', printable(message.charAt(0).toUpperCase() + message.slice(1), 400), {
    hint: 'Run the command with --help',
    cause: error,
  })
}
