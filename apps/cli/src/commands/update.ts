import { createEngine, keepSettings, settingsFor, toEngineOptions } from '@keyturn/install-engine'
import type { Engine, EngineEvent, Settings } from '@keyturn/install-engine'
import { locateInstall, updateData, updateText } from '@keyturn/launcher-daemon'
import { Option } from 'commander'
import type { Command } from 'commander'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { counted, formatBytes } from '../output.ts'
import type { Progress } from '@keyturn/publisher'

interface InstallOptions {
  readonly dir?: string
  readonly server?: string
  readonly trust?: string
  readonly product?: string
  readonly channel?: string
  readonly target?: 'windows' | 'linux' | 'macos'
  readonly limit?: string
  readonly program?: string
  readonly delivery?: 'env' | 'fd' | 'shared-memory'
  readonly offline?: boolean
  readonly playInstalled?: boolean
}

type CompleteSettings = Settings & { readonly server: string; readonly trust: string }

interface OpenInstall {
  readonly folder: string
  readonly settings: CompleteSettings
  readonly engine: Engine
  readonly end: () => void
}

function installFlags(command: Command): Command {
  return command
    .option('--dir <folder>', 'folder of the install (default: $KEYTURN_INSTALL_DIR, else $METIN2_INSTALL_DIR)')
    .option('--server <url>', 'release server; remembered after the first install')
    .option('--trust <pin>', 'did:keri:<prefix>?sn=&said= or key:<hex>; remembered after the first install')
    .option('--product <name>', 'product, where the server has several')
    .option('--channel <name>', 'channel (default: stable)')
    .addOption(
      new Option(
        '--target <system>',
        'whose files are installed; chosen, not guessed: Windows clients run under wine too (default: windows)',
      ).choices(['windows', 'linux', 'macos']),
    )
    .option('--limit <bytes>', 'bytes a second')
}

/** Registers `keyturn update`. */
export function registerUpdate(program: Command, cli: Cli): void {
  const update = installFlags(
    program.command('update').description('bring an install to the newest release: verified, delta, all or nothing'),
  )
  cli.define<InstallOptions>(update, {
    example: [
      'keyturn update --dir client --server https://releases.example/ --trust "did:keri:E…?sn=0&said=E…"',
      'keyturn update --dir client',
    ],
    dryRun: true,
    run: async (context, options) => {
      const install = await openInstall(context, options)
      const result = await install.engine
        .update({ signal: context.signal, dryRun: context.dryRun })
        .finally(install.end)
      if (!context.dryRun) await keepSettings(install.folder, install.settings)
      return {
        data: { ...updateData(result), dry_run: context.dryRun },
        text: context.dryRun
          ? `Would install ${result.version ?? 'nothing'}: ${counted(result.writtenFiles, 'file')}, ${formatBytes(result.downloadedBytes)} to download`
          : updateText(result),
      }
    },
  })
}

/** Registers `keyturn repair`. */
export function registerRepair(program: Command, cli: Cli): void {
  const repair = installFlags(
    program.command('repair').description('read every byte of the installed release and fetch what is wrong'),
  )
  cli.define<InstallOptions>(repair, {
    example: 'keyturn repair --dir client',
    run: async (context, options) => {
      const install = await openInstall(context, options)
      const result = await install.engine.repair({ signal: context.signal }).finally(install.end)
      return { data: updateData(result), text: updateText(result) }
    },
  })
}

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
      update: options.offline !== true,
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

function bytesPerSecond(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9][0-9]{3,14}$/.test(text))
    throw new CliError('CLI_USAGE', `--limit takes a whole number of bytes a second from 1000 on, not "${text}"`)
  return Number(text)
}

async function openInstall(context: Context, options: InstallOptions): Promise<OpenInstall> {
  const named = process.env['KEYTURN_INSTALL_DIR']
  const folder =
    options.dir ??
    (named === undefined || named === '' ? locateInstall(process.env, dirname(fileURLToPath(import.meta.url))) : named)
  if (folder === undefined) throw new CliError('CLI_USAGE', 'Which install? Give --dir, or set KEYTURN_INSTALL_DIR')
  const { server, trust, product, channel, target, delivery, program } = options
  const said = {
    server,
    trust,
    product,
    channel,
    target,
    delivery,
    limit: bytesPerSecond(options.limit),
    program: program === undefined ? undefined : [program],
  }
  const given = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as Settings
  const settings = await settingsFor({ folder, ...given })
  const shown = new ShownEvents(context)
  const engine = createEngine({ ...toEngineOptions(folder, settings), clock: context.clock, onEvent: shown.take })
  return { folder, settings, engine, end: () => shown.end() }
}

/** Engine events in the voice of the command line: one bar for what is going on, a warning for each notice. */
class ShownEvents {
  readonly #context: Context
  #bar: Progress | undefined
  #phase: string | undefined

  constructor(context: Context) {
    this.#context = context
  }

  readonly take = (event: EngineEvent): void => {
    if (event.type === 'notice') this.#context.out.warn(`${event.message} (${event.code})`)
    if (event.type === 'plan' && event.plan.changedFiles > 0) {
      const { version, changedFiles, downloadBytes } = event.plan
      this.#context.out.step('plan', `Release ${version}: ${counted(changedFiles, 'file')} to change`, {
        version,
        files: changedFiles,
        bytes: downloadBytes,
      })
    }
    if (event.type !== 'progress') return
    const { progress } = event
    const isFetch = progress.phase === 'fetch' && progress.downloadTotalBytes > 0
    const phase = isFetch ? 'Downloading' : 'Verifying'
    if (phase !== this.#phase) {
      this.end()
      this.#phase = phase
      this.#bar = this.#context.out.progress(phase)
    }
    this.#bar?.update(
      isFetch ? progress.downloadedBytes : progress.diskBytes,
      isFetch ? progress.downloadTotalBytes : progress.diskTotalBytes,
    )
  }

  end(): void {
    this.#bar?.end()
    this.#bar = undefined
    this.#phase = undefined
  }
}
