export { Cli } from './command.ts'
export { CliError, cliErrors } from './errors.ts'
export { run } from './program.ts'

export type { CliEnvironment, CommandResult, CommandSpec, Context, GlobalFlags } from './command.ts'
export type { CliErrorCode } from './errors.ts'
