import { Option } from 'commander'
import type { Command } from 'commander'
import { LauncherError } from '@keyturn/install-engine'
import type { DeliveryName, Target } from '@keyturn/install-engine'

/** What a command line says. */
export interface Flags {
  readonly dir?: string | undefined
  readonly server?: string | undefined
  readonly trust?: string | undefined
  readonly product?: string | undefined
  readonly channel?: string | undefined
  readonly accessCodeFile?: string | undefined
  readonly target?: Target | undefined
  readonly program?: string | undefined
  readonly delivery?: DeliveryName | undefined
  readonly limit?: string | undefined
  readonly lowSpace?: boolean | undefined
  readonly linkedFolder?: readonly string[] | undefined
  readonly save?: boolean | undefined
  readonly json?: boolean | undefined
  readonly events?: boolean | undefined
  readonly quiet?: boolean | undefined
  readonly offline?: boolean | undefined
  readonly playInstalled?: boolean | undefined
  readonly dryRun?: boolean | undefined
  readonly downloadOnly?: boolean | undefined
  readonly maxDownload?: string | undefined
  readonly lanMirror?: string | undefined
  readonly backgroundLimit?: string | undefined
  readonly pauseWhilePlaying?: boolean | undefined
  readonly downloadHours?: string | undefined
  readonly askAbove?: string | undefined
  readonly add?: readonly string[] | undefined
  readonly remove?: readonly string[] | undefined
  readonly port?: string | undefined
  readonly socket?: string | undefined
}

/**
 * A number of bytes from a command line.
 *
 * @throws LauncherError `LA_USAGE`.
 */
export function wholeBytes(text: string, flag: string): number {
  const number = Number(text)
  if (/^[0-9]{1,15}$/.test(text)) return number
  throw new LauncherError('LA_USAGE', `${flag} takes a number of bytes, not "${text}"`)
}

/** The settings that a command line gives. */
export function saidSettings(flags: Flags): Record<string, unknown> {
  const { server, trust, product, channel, target, delivery, program, lowSpace, linkedFolder } = flags
  const { limit, lanMirror, backgroundLimit, pauseWhilePlaying, downloadHours, askAbove } = flags
  const said = {
    server,
    trust,
    product,
    channel,
    target,
    delivery,
    program: program === undefined ? undefined : [program],
    limit: limit === undefined ? undefined : wholeBytes(limit, '--limit'),
    lanMirror,
    backgroundLimit: backgroundLimit === undefined ? undefined : wholeBytes(backgroundLimit, '--background-limit'),
    pauseWhilePlaying,
    downloadHours,
    askAbove: askAbove === undefined ? undefined : wholeBytes(askAbove, '--ask-above'),
    lowSpace,
    linkedFolders: linkedFolder,
  }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

/** Adds the flags that every command on an install has; in a studio's launcher without the server and the pin. */
export function addInstallFlags(command: Command, isPlayer: boolean): void {
  const fixed = [
    new Option('--server <url>', 'release server; remembered after the first install'),
    new Option('--trust <pin>', 'did:keri:<prefix>?sn=&said= or key:<hex>; remembered after the first install'),
    new Option('--product <name>', 'product, where the server has several'),
    new Option('--target <system>', 'windows, linux or macos (default: windows)'),
  ]
  const [folder, channel] = isPlayer
    ? ['the one that was chosen', 'that of the install']
    : ['$METIN2_INSTALL_DIR', 'stable']
  // In a studio's launcher they change nothing.
  for (const option of fixed) command.addOption(isPlayer ? option.hideHelp() : option)
  command
    .option('--dir <folder>', `folder of the install (default: ${folder})`)
    .option('--channel <name>', `channel (default: ${channel})`)
    .option('--access-code-file <file>', 'file with the access code of the channel; remembered for it')
    .option('--program <path>', 'program to start, relative to the install or absolute')
    .option('--delivery <how>', 'how the client gets its key: env, fd or shared-memory')
    .option('--limit <bytes>', 'bytes a second')
    .option('--lan-mirror <url>', 'a server of this network that has the files; tried first; remembered')
    .option(
      '--low-space',
      'where old and new do not fit together, update file by file; nobody can play until it is finished',
    )
    .option('--no-low-space', 'no longer')
    .option('--linked-folder <path...>', 'folder of the install that is a link to another disk, and may be; remembered')
    .option('--save', `remember ${isPlayer ? '' : '--server, '}--program and --delivery in place of what is remembered`)
    .option('--json', 'print one JSON object on stdout')
    .option('--events', 'print events as JSON lines on stderr')
    .option('-q, --quiet', 'print results only')
}
