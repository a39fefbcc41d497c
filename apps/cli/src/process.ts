import type { CliEnvironment } from './command.ts'
import { CliError } from './errors.ts'
import { exitCodes, printable } from '@keyturn/primitives'

/** How long a command may take to put things in order after Ctrl-C. */
const GRACE_MS = 15_000

/**
 * Connects a command line to this process: arguments, streams, signals and the exit code. Ctrl-C asks the command to
 * stop and it leaves nothing half-written; a second one ends the process at once.
 *
 * @param run - The command line; gives the exit code.
 */
export async function runProcess(
  run: (argv: readonly string[], environment: CliEnvironment) => Promise<number>,
): Promise<void> {
  const controller = new AbortController()
  let stopped = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopped) process.exit(exitCodes.interrupted)
    stopped = true
    controller.abort(new CliError('CLI_INTERRUPTED', `Stopped by ${signal}`))
    setTimeout(() => process.exit(exitCodes.interrupted), GRACE_MS).unref()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader went away (`keyturn explain | head`): nobody is left to tell.
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
    // Asynchronous and late: no command could tell of it any more.
    process.stderr.write(
      `error: Cannot write to the standard output: ${printable(error.message)}\n  CLI_IO: Free the disk that it ` +
        'goes to, and run the command again\n',
    )
    process.exit(exitCodes.io)
  })
  process.exitCode = await run(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: controller.signal,
  })
  // A stopped command may have left a timer or a socket; its files are whole.
  if (stopped) process.exit(process.exitCode)
}
