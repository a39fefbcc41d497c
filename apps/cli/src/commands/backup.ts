import { resolve } from 'node:path'
import { formatBytes, wipe } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import { homePaths, lockHome, readHome } from '@keyturn/publisher'
import { openStream, readHomeStream, sealStream, streamHome } from '@keyturn/publisher/backup'
import type { BackupCount } from '@keyturn/publisher/backup'
import { markBackup } from '@keyturn/publisher/records'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { counted } from '../output.ts'
import { readBackup, stoppable } from './backup-file.ts'
import type { BackupOptions } from './backup-file.ts'
import { makeShares, planShares } from '../share-files.ts'

/** Registers `keyturn backup`. */
export function registerBackup(program: Command, cli: Cli): void {
  const backup = program
    .command('backup')
    .description('seal the whole home into one file under a passphrase of its own, and read it back')
    .argument('<file>', 'file to write')
    .option('--all', 'the release trees and the storage of "keyturn serve" too')
    .option(
      '--backup-passphrase-file <file>',
      'read the passphrase of the backup from a file (default: --passphrase-file, the one of the home)',
    )
    .option('--shares <folder>', 'no passphrase: shares in a new folder, of which --threshold open the backup')
    .option('--threshold <n>', 'with --shares: how many shares open it')
    .option('--count <n>', 'with --shares: how many shares there are')
    .option('--force', 'replace an existing file')
  cli.define<BackupOptions>(backup, {
    example: [
      'keyturn backup /media/stick/keys.backup',
      'keyturn backup /media/stick/keys.backup --shares shares --threshold 3 --count 5',
    ],
    run: runBackup,
  })
}

async function runBackup(
  context: Context,
  options: BackupOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const target = resolve(file ?? '')
  await readHome(context.homeFolder)
  if (options.force !== true && (await pathExists(target)))
    throw new CliError('CLI_EXISTS', `"${target}" is already there`)
  if (options.shares === undefined && (options.threshold ?? options.count) !== undefined)
    throw new CliError('CLI_USAGE', '--threshold and --count are for --shares')
  if (options.shares !== undefined) return await backupUnderShares(context, options, target, options.shares)
  await lockHome(context)
  const passphrase = await backupPassphrase(context, options)
  try {
    return await writeBackup(context, options, { target, passphrase })
  } finally {
    wipe(passphrase)
  }
}

/** A backup whose passphrase nobody knows. */
async function backupUnderShares(
  context: Context,
  options: BackupOptions,
  target: string,
  folder: string,
): Promise<CommandResult> {
  if (options.backupPassphraseFile !== undefined)
    throw new CliError('CLI_USAGE', 'Give --shares or --backup-passphrase-file, not both')
  const plan = await planShares(folder, options)
  await lockHome(context)
  return await makeShares(context, plan, async (made) => {
    const { data, text } = await writeBackup(context, options, { target, passphrase: made.passphrase, keep: made.keep })
    const shares = { folder: made.folder, set: made.set, threshold: made.threshold, shares: made.files.length }
    return {
      data: { ...data, ...shares },
      text:
        `${text?.split('\n')[0] ?? ''}\nAny ${made.threshold} of the ${made.files.length} shares in ${made.folder} open it, ` +
        'and nothing else does. Give each to another person, and leave none here.',
    }
  })
}

interface BackupTarget {
  readonly target: string
  readonly passphrase: Uint8Array
  /** Called before the file takes its place. */
  readonly keep?: () => void
}

async function writeBackup(
  context: Context,
  options: BackupOptions,
  { target, passphrase, keep }: BackupTarget,
): Promise<CommandResult> {
  const written: BackupCount = { files: 0, bytes: 0 }
  await writeFileAtomic(
    target,
    sealStream(passphrase, stoppable(streamHome(context.homeFolder, options.all === true, written), context.signal)),
    {
      mode: 0o600,
      overwrite: options.force === true,
      beforeRename: async (temporary) => {
        const read = await readHomeStream(
          openStream(passphrase, stoppable(readBackup(temporary), context.signal)),
          undefined,
        )
        if (read.files !== written.files || read.bytes !== written.bytes)
          throw new CliError('CLI_BACKUP', 'The backup does not read back as it was written')
        keep?.()
      },
    },
  )
  await markBackup(context.homeFolder, context.clock())
  return {
    data: { file: target, files: written.files, bytes: written.bytes, read_back: true },
    text:
      `${counted(written.files, 'file')} (${formatBytes(written.bytes)}) sealed in ${target} and read back.\n` +
      'Keep the passphrase apart from the file; without it nothing opens it. The keys inside open with the passphrase of ' +
      'the home, as before: you need both.',
  }
}

/**
 * A passphrase that was not given for the backup is that of the home, and must prove it: sealed under a mistyped one,
 * the copy would be lost when it is needed.
 */
async function backupPassphrase(context: Context, options: BackupOptions): Promise<Uint8Array> {
  const passphrase = await context.ask.passphrase('New passphrase of the backup', {
    fresh: true,
    file: options.backupPassphraseFile,
  })
  if (options.backupPassphraseFile !== undefined || !context.ask.hasPassphrase) return passphrase
  const { Keys } = await import('@keyturn/publisher/keys')
  try {
    await (await Keys.open(homePaths(context.homeFolder).keystore, passphrase, { clock: context.clock })).close()
    return passphrase
  } catch (error) {
    wipe(passphrase)
    throw error
  }
}
