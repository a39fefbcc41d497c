import { mkdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { formatBytes, wipe } from '@keyturn/primitives'
import { pathExists, syncFolder } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import { readHome } from '@keyturn/publisher'
import { openStream, readHomeStream } from '@keyturn/publisher/backup'
import { markRestored } from '@keyturn/publisher/records'
import type { BackupCount } from '@keyturn/publisher/backup'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { counted } from '../output.ts'
import { readBackup, stoppable } from './backup-file.ts'
import type { BackupOptions } from './backup-file.ts'
import { readShares } from '../share-files.ts'

/** Registers `keyturn restore`. */
export function registerRestore(program: Command, cli: Cli): void {
  const restore = program
    .command('restore')
    .description('restore a home folder from a backup; the folder of --home must be empty or not exist')
    .argument('<file>', 'the backup')
    .option(
      '--backup-passphrase-file <file>',
      'read the passphrase of the backup from a file (default: --passphrase-file)',
    )
    .option('--share-file <file...>', 'for a backup under shares: a file with a share; repeat until the set has enough')
  cli.define<BackupOptions>(restore, {
    example: [
      'keyturn restore /media/stick/keys.backup --home ./keys',
      'keyturn restore shared.backup --home ./keys --share-file share-1-of-3.txt share-3-of-3.txt',
    ],
    dryRun: true,
    run: runRestore,
  })
}

async function runRestore(
  context: Context,
  options: BackupOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const source = resolve(file ?? '')
  const home = context.homeFolder
  if (await pathExists(join(home, 'home.json'))) throw new CliError('CLI_HOME_EXISTS', `"${home}" already holds keys`)
  const passphrase =
    options.shareFile === undefined
      ? await context.ask.passphrase('Passphrase of the backup', { file: options.backupPassphraseFile })
      : await readShares(context, options.shareFile)
  try {
    if (context.dryRun) {
      const { files, bytes } = await readHomeStream(openStream(passphrase, readBackup(source)), undefined)
      return {
        data: { files, bytes, home, restored: false },
        text: `The backup is whole: ${counted(files, 'file')}, ${formatBytes(bytes)}`,
      }
    }
    const { files, bytes } = await restoreTo(context, source, passphrase)
    return {
      data: { files, bytes, home, restored: true },
      text:
        `${counted(files, 'file')} restored to ${home}. It may be older than what was published since: run ` +
        '"keyturn doctor" now.',
    }
  } finally {
    wipe(passphrase)
  }
}

/** Beside its place first, then renamed: a home is whole or not there. */
async function restoreTo(
  { homeFolder: home, clock, signal }: Context,
  source: string,
  passphrase: Uint8Array,
): Promise<BackupCount> {
  const draft = join(dirname(home), `.${basename(home)}.restore-${process.pid}`)
  await mkdir(draft, { recursive: true, mode: 0o700 })
  try {
    const count = await readHomeStream(openStream(passphrase, stoppable(readBackup(source), signal)), draft)
    await readHome(draft)
    await markRestored(draft, clock())
    await rename(draft, home)
    await syncFolder(dirname(home))
    return count
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
}
