import { createEngine, readAccessCode, settingsFor, toEngineOptions } from '@keyturn/install-engine'
import type { Engine, EngineEvent, Settings } from '@keyturn/install-engine'
import { locateInstall } from '@keyturn/launcher-daemon'
import { Option } from 'commander'
import type { Command } from 'commander'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Context } from './command.ts'
import { CliError } from './errors.ts'
import { counted } from './output.ts'
import type { Progress } from '@keyturn/publisher'

export interface InstallOptions {
  readonly dir?: string | undefined
  readonly server?: string | undefined
  readonly trust?: string | undefined
  readonly product?: string | undefined
  readonly channel?: string | undefined
  readonly accessCodeFile?: string | undefined
  readonly target?: 'windows' | 'linux' | 'macos' | undefined
  readonly limit?: string | undefined
  readonly program?: string | undefined
  readonly delivery?: 'env' | 'fd' | 'shared-memory' | undefined
  readonly offline?: boolean | undefined
  readonly playInstalled?: boolean | undefined
}

type CompleteSettings = Settings & { readonly server: string; readonly trust: string }

interface OpenInstall {
  readonly folder: string
  readonly settings: CompleteSettings
  readonly engine: Engine
  readonly end: () => void
}

export function installFlags(command: Command): Command {
  return command
    .option('--dir <folder>', 'folder of the install (default: $KEYTURN_INSTALL_DIR, else $METIN2_INSTALL_DIR)')
    .option('--server <url>', 'release server; remembered after the first install')
    .option('--trust <pin>', 'did:keri:<prefix>?sn=&said= or key:<hex>; remembered after the first install')
    .option('--product <name>', 'product, where the server has several')
    .option('--channel <name>', 'channel (default: stable)')
    .option('--access-code-file <file>', 'file with the access code of the channel; remembered for it')
    .addOption(
      new Option(
        '--target <system>',
        'whose files are installed; chosen, not guessed: Windows clients run under wine too (default: windows)',
      ).choices(['windows', 'linux', 'macos']),
    )
    .option('--limit <bytes>', 'bytes a second')
}

function bytesPerSecond(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9][0-9]{3,14}$/.test(text))
    throw new CliError('CLI_USAGE', `--limit takes a whole number of bytes a second from 1000 on, not "${text}"`)
  return Number(text)
}

export async function openInstall(context: Context, options: InstallOptions): Promise<OpenInstall> {
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
  const { accessCodeFile } = options
  const accessCode = accessCodeFile === undefined ? undefined : await readAccessCode(accessCodeFile)
  const settings = await settingsFor({ folder, ...given, accessCode })
  const shown = new ShownEvents(context)
  const engine = createEngine({ ...toEngineOptions(folder, settings), clock: context.clock, onEvent: shown.take })
  return { folder, settings, engine, end: () => shown.end() }
}

/** Shows engine events as the command line does: one progress bar, and a warning for each notice. */
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
    // What follows on the terminal is the client's.
    if (event.type === 'state' && ['key-load', 'launch'].includes(event.state)) this.end()
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
