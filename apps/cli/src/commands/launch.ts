import { keepSettings } from '@keyturn/install-engine'
import { updateData } from '@keyturn/launcher-daemon'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import type { InstallOptions } from '../install.ts'
import { installFlags, openInstall } from '../install.ts'

/** Registers `keyturn launch`. */
export function registerLaunch(program: Command, cli: Cli): void {
  const launch = installFlags(
    program.command('launch [arguments...]').description('update if possible, then start the client with its key'),
  )
    .option('--program <path>', 'program to start, relative to the install or absolute')
    .addOption(
      new Option('--delivery <how>', 'how the client gets its key (default: env)').choices([
        'env',
        'fd',
        'shared-memory',
      ]),
    )
    .option('--offline', 'do not ask the server')
    .option('--play-installed', 'play although the newest release carries a wrong signature')
  cli.define<InstallOptions>(launch, {
    example: ['keyturn launch --dir client', 'keyturn launch --dir client --program bin/client.exe -- --windowed'],
    run: async (context, options, args) =>
      runLaunch(
        context,
        options,
        args.flat().filter((word) => word !== undefined),
      ),
  })
}

async function runLaunch(context: Context, options: InstallOptions, args: readonly string[]): Promise<CommandResult> {
  const install = await openInstall(context, options)
  const started = await install.engine
    .launch({
      signal: context.signal,
      args,
      offline: options.offline === true,
      playInstalled: options.playInstalled === true,
      // stdout belongs to the one JSON object
      ...(context.out.json ? { stdio: ['inherit', 2, 2] as const } : {}),
    })
    .finally(install.end)
  await keepSettings(install.folder, install.settings)
  const exitCode = await started.exited
  if (exitCode !== 0)
    context.out.warn(
      `The client ended with ${exitCode ?? 'a signal'}; after two such starts in a row the release before is put back`,
    )
  return {
    data: {
      version: started.version,
      offline: started.offline || options.offline === true,
      trust: started.trust,
      pid: started.pid,
      client_exit_code: exitCode,
      update: started.update === undefined ? null : updateData(started.update),
    },
    no: exitCode !== 0, // the client's own numbers mean other things here
  }
}
