import { Command, CommanderError } from 'commander'
import { exitCodes, printable } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import {
  createEngine,
  DeviceKey,
  keepSettings,
  LauncherError,
  launcherVersion,
  parseSettings,
  readAccessCode,
  settingsFor,
  storedSettings,
  toEngineOptions,
} from '@keyturn/install-engine'
import type { Engine, Settings } from '@keyturn/install-engine'
import { locateInstall } from '../locate-install.ts'
import { openPage, quit, removeInstall, runDaemon, writeReport } from './daemon-commands.ts'
import { changeComponents } from './components-command.ts'
import { EventPrinter } from './events-text.ts'
import type { PlayerDefaults, ProgramEnvironment } from './environment.ts'
import { addInstallFlags, saidSettings, wholeBytes } from './flags.ts'
import type { Flags } from './flags.ts'
import { asKeyturnError, errorEnvelope } from './outcome.ts'
import { fetchAhead } from './fetch-ahead.ts'
import { preloadData, preloadText, statusData, statusText, updateData, updateText } from './results.ts'

type CompleteSettings = Settings & { readonly server: string; readonly trust: string }

/** An opened install with what its commands need. */
export interface OpenInstall {
  readonly folder: string
  /** As they are to be remembered. */
  readonly settings: CompleteSettings
  readonly engine: Engine
  readonly flags: Flags
}

/** The settings to remember: what is remembered already stays, unless `--save` says otherwise. */
async function withoutOneOffs(folder: string, settings: CompleteSettings): Promise<CompleteSettings> {
  const { server = settings.server, program, delivery } = await storedSettings(folder)
  return {
    ...settings,
    server,
    ...(program === undefined ? {} : { program }),
    ...(delivery === undefined ? {} : { delivery }),
  }
}

type Answer = { readonly data: { [name: string]: JsonValue }; readonly text: string; readonly exitCode?: number }

/** `keyturn-launcher`: its commands over one engine. */
export class LauncherProgram {
  readonly #environment: ProgramEnvironment
  #exitCode = 0
  #isForNewer = false
  #keeping: Promise<void> | undefined

  constructor(environment: ProgramEnvironment) {
    this.#environment = environment
  }

  /** What players type: the name of the executable that a studio made. */
  get #name(): string {
    return this.#environment.player?.config.id ?? 'keyturn-launcher'
  }

  /** Whether the command has to run again, by the newer launcher that was fetched for it; nothing was printed. */
  get isForNewer(): boolean {
    return this.#isForNewer
  }

  /** Runs a command line and returns its exit code. */
  async run(argv: readonly string[]): Promise<number> {
    const program = this.#program()
    try {
      await program.parseAsync([...argv], { from: 'user' })
    } catch (thrown) {
      if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : exitCodes.usage
      this.#exitCode = this.#fail(argv[0] ?? '', thrown, argv.includes('--json'))
    }
    return this.#exitCode
  }

  #fail(command: string, thrown: unknown, json: boolean): number {
    const error = asKeyturnError(thrown)
    if (json) this.#environment.stdout.write(`${JSON.stringify(errorEnvelope(command, error))}\n`)
    else
      this.#environment.stderr.write(
        `error: ${printable(error.message, 1000)}\n  ` +
          `${error.code}${error.hint === undefined ? '' : `: ${printable(error.hint, 1000)}`}\n`,
      )
    return exitCodes[error.kind]
  }

  #program(): Command {
    const program = new Command(this.#name)
      .description('Install, verify, update and start a client.')
      .version(launcherVersion, '-V, --version', 'print the version')
    program.exitOverride().configureOutput({
      writeOut: (text) => this.#environment.stdout.write(text),
      writeErr: (text) => this.#environment.stderr.write(text),
    })
    this.#add(program, 'update', 'update the install to the newest release', (install) => this.#update(install))
      .option('--download-only', 'download and verify, and put nothing in place; the next update or start does')
      .option('--max-download <bytes>', 'refuse an update that downloads more')
    this.#add(program, 'launch', 'update if possible, then start the client', (install, rest) =>
      this.#launch(install, rest),
    )
      .argument('[arguments...]', 'arguments for the client')
      .option('--offline', 'do not ask the server')
      .option('--play-installed', 'play although the newest release carries a wrong signature')
    this.#add(program, 'repair', 'read every byte of the installed release and fetch what is wrong', (install) =>
      this.#repair(install),
    )
    this.#add(program, 'rollback', 'go back to the release before', async ({ engine }) => {
      const result = await engine.rollback()
      return { data: updateData(result), text: updateText(result) }
    })
    this.#add(program, 'status', 'say what is installed and how far it is trusted', async ({ engine }) => {
      const status = await engine.status()
      return { data: statusData(status), text: statusText(status) }
    })
    program
      .command('device')
      .description('print how servers that serve listed devices only know this machine; makes its key when it has none')
      .addHelpText('after', `\nExample:\n  $ ${this.#name} device`)
      .option('--json', 'print one JSON object on stdout')
      .action(async (flags: Flags) => this.#device(flags.json === true))
    this.#addRest(program)
    return program
  }

  /** Commands about the launcher that runs, and the end of an install. */
  #addRest(program: Command): void {
    this.#add(program, 'uninstall', 'remove what was installed; what you changed or added stays', async (install) => {
      const { removedFiles, keptFiles } = await removeInstall(install, this.#environment.player?.stateFolder)
      return {
        data: { removed_files: removedFiles, kept_files: [...keptFiles] },
        text: `${removedFiles} files removed, ${keptFiles.length} changed ones kept`,
      }
    })
    this.#add(
      program,
      'components',
      'show what may be left out of the release; with names, add or remove just that',
      (install) => changeComponents(install, { signal: this.#environment.signal, env: this.#environment.env }),
    )
      .option('--add <name...>', 'install these too')
      .option('--remove <name...>', 'leave these out')
    this.#add(program, 'report', 'write a report for support, with nothing secret in it', (install, [file = '']) =>
      writeReport(install, file, this.#environment),
    ).argument('<file>', 'where to write it; no file may be there')
    this.#add(program, 'run', 'stay running: check on an interval, serve the page on this machine', (install) =>
      this.#run(install),
    )
      .option('--port <number>', 'port on 127.0.0.1 (default: any free one)')
      .option('--socket <path>', 'a Unix socket instead of a port')
      .option('--background-limit <bytes>', 'bytes a second while the client runs or nobody looks; remembered')
      .option('--pause-while-playing', 'download nothing while the client runs; remembered')
      .option('--no-pause-while-playing', 'no longer')
      .option(
        '--download-hours <from-to>',
        'look for updates, but download at these hours only: 01:00-07:00; remembered',
      )
      .option('--ask-above <bytes>', 'ask on the page before larger downloads; remembered')
    this.#add(program, 'open', 'print (and open) the address of the page of a running launcher', async ({ folder }) => {
      const address = await openPage(folder, this.#environment.player?.stateFolder)
      return { data: { address }, text: address }
    })
    this.#add(program, 'quit', 'ask a running launcher to end', async ({ folder }) => {
      await quit(folder, this.#environment.player?.stateFolder)
      return { data: {}, text: '' }
    })
  }

  #add(
    program: Command,
    name: string,
    description: string,
    run: (install: OpenInstall, rest: readonly string[]) => Promise<Answer>,
  ): Command {
    const command = program
      .command(name)
      .description(description)
      .addHelpText(
        'after',
        `\nExample:\n  $ ${this.#name} ${name}${this.#environment.player === undefined ? ' --dir client' : ''}`,
      )
    addInstallFlags(command, this.#environment.player !== undefined)
    command.action(async () => {
      const flags = command.opts<Flags>()
      await this.#execute(name, flags, command.args, run)
    })
    return command
  }

  async #execute(
    name: string,
    flags: Flags,
    rest: readonly string[],
    run: (install: OpenInstall, rest: readonly string[]) => Promise<Answer>,
  ): Promise<void> {
    const json = flags.json === true
    const printer = new EventPrinter(this.#environment.stderr, {
      json,
      events: flags.events === true,
      quiet: flags.quiet === true,
    })
    try {
      const install = await this.#open(flags, printer)
      const answer = await run(install, rest)
      await this.#keeping
      printer.end()
      this.#environment.stdout.write(
        json
          ? `${JSON.stringify({ ok: true, command: name, data: answer.data })}\n`
          : answer.text === ''
            ? ''
            : `${answer.text}\n`,
      )
      this.#exitCode = answer.exitCode ?? 0
    } catch (thrown) {
      printer.end()
      await this.#keeping
      this.#isForNewer = await this.#fetchesNewer(thrown)
      if (!this.#isForNewer) this.#exitCode = this.#fail(name, thrown, json)
    }
  }

  /** A release that needs a newer launcher makes a studio's launcher fetch one. */
  async #fetchesNewer(thrown: unknown): Promise<boolean> {
    const { updateLauncher } = this.#environment.player ?? {}
    if (updateLauncher === undefined || asKeyturnError(thrown).code !== 'MAN_LAUNCHER_TOO_OLD') return false
    return await updateLauncher().catch(() => false) // the release's own refusal is what counts
  }

  async #open(flags: Flags, printer: EventPrinter): Promise<OpenInstall> {
    const { player } = this.#environment
    const folder = flags.dir ?? player?.folder ?? locateInstall(this.#environment.env, this.#environment.programFolder)
    if (folder === undefined)
      throw new LauncherError('LA_USAGE', 'Which install? Give --dir, or set METIN2_INSTALL_DIR')
    // In a studio's launcher the server and the pin come from its executable and from nowhere else.
    const fixed = player === undefined ? {} : { server: player.config.server, trust: player.config.trust }
    const given = parseSettings({ ...saidSettings(flags), ...fixed })
    const { accessCodeFile } = flags
    const accessCode = accessCodeFile === undefined ? undefined : await readAccessCode(accessCodeFile)
    const settings = { ...playerSettings(player), ...(await settingsFor({ folder, ...given, accessCode })) }
    const kept = flags.save === true ? settings : await withoutOneOffs(folder, settings)
    const engine = createEngine({
      ...toEngineOptions(folder, settings),
      onEvent: (event) => {
        printer.print(event)
        // As soon as the publisher is proven: a first download that is interrupted goes on without the flags.
        if (event.type === 'trust' && event.status === 'current')
          this.#keeping = keepSettings(folder, kept).catch(() => undefined) // the end of the command reports
      },
      env: this.#environment.env,
    })
    return { folder, settings: kept, engine, flags }
  }

  async #device(json: boolean): Promise<void> {
    const { key, did } = await new DeviceKey(nodeFileSystem, DeviceKey.file(this.#environment.env)).name()
    this.#environment.stdout.write(
      json
        ? `${JSON.stringify({ ok: true, command: 'device', data: { key, did } })}\n`
        : `Key      ${key}\nDevice   ${did}\n`,
    )
  }

  async #update({ folder, settings, engine, flags }: OpenInstall): Promise<Answer> {
    const most = flags.maxDownload === undefined ? undefined : wholeBytes(flags.maxDownload, '--max-download')
    const result = await engine.update({
      signal: this.#environment.signal,
      downloadOnly: flags.downloadOnly,
      ...(most === undefined ? {} : { mayDownload: ({ downloadBytes }) => downloadBytes <= most }),
    })
    const ahead =
      flags.downloadOnly === true
        ? ({ outcome: 'none', downloadedBytes: 0 } as const)
        : await fetchAhead(engine, {
            signal: this.#environment.signal,
            ...(most === undefined ? {} : { mayDownload: ({ downloadBytes }) => downloadBytes <= most }),
          })
    await keepSettings(folder, settings)
    return { data: { ...updateData(result), ...preloadData(ahead) }, text: updateText(result) + preloadText(ahead) }
  }

  async #repair({ folder, settings, engine }: OpenInstall): Promise<Answer> {
    const result = await engine.repair({ signal: this.#environment.signal })
    await keepSettings(folder, settings)
    return { data: updateData(result), text: updateText(result) }
  }

  async #launch({ folder, settings, engine, flags }: OpenInstall, rest: readonly string[]): Promise<Answer> {
    const started = await engine.launch({
      signal: this.#environment.signal,
      args: rest,
      ...(flags.offline === true ? { offline: true } : {}),
      ...(flags.playInstalled === true ? { playInstalled: true } : {}),
      // stdout belongs to the one JSON object
      ...(flags.json === true ? { stdio: ['inherit', 2, 2] } : {}),
    })
    // The game is running already, so a full or read-only disk must not stop the launcher from watching it.
    await keepSettings(folder, settings).catch((error: unknown) => this.#warn(error, flags))
    const exitCode = await started.exited
    const data = {
      version: started.version,
      offline: started.offline || flags.offline === true,
      trust: started.trust,
      pid: started.pid,
      client_exit_code: exitCode,
      update: started.update === undefined ? null : updateData(started.update),
    }
    if (exitCode === 0) return { data, text: '' }
    // Its own numbers mean other things here, so there is one answer for all of them.
    const how = exitCode === null ? `by ${started.child.signalCode ?? 'a signal'}` : `with ${exitCode}`
    if (flags.quiet !== true && flags.json !== true)
      this.#environment.stderr.write(`LA_CLIENT_FAILED: The client ended ${how}\n`)
    return { data: { ...data, client_signal: started.child.signalCode }, text: '', exitCode: exitCodes.no }
  }

  #warn(error: unknown, { quiet, json }: Flags): void {
    const { code, message } = asKeyturnError(error)
    if (quiet !== true && json !== true) this.#environment.stderr.write(`${code}: ${printable(message, 1000)}\n`)
  }

  async #run({ folder, settings, flags }: OpenInstall): Promise<Answer> {
    const { address } = await runDaemon({
      folder,
      settings,
      signal: this.#environment.signal,
      port: flags.port,
      socket: flags.socket,
      onReady: (ready) =>
        this.#environment.stdout.write(
          flags.json === true
            ? `${JSON.stringify({ ok: true, command: 'run', data: { address: ready } })}\n`
            : `Ready at ${ready}\nOpen the page with: ${this.#name} open --dir ${folder}\n`,
        ),
    })
    return { data: { address }, text: '', exitCode: 0 }
  }
}

/** What a studio's launcher says of an install whose own settings do not. */
function playerSettings(player: PlayerDefaults | undefined): Settings {
  if (player === undefined) return {}
  const { channel, product, target } = player.config
  return { channel, target, product }
}
