import { wipe } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { openHome } from '@keyturn/publisher'

interface PassphraseOptions {
  readonly newPassphraseFile?: string
  readonly nextKey?: boolean
  readonly nextKeyFile?: string
  readonly nextPassphraseFile?: string
}

/** Registers `keyturn passphrase`. */
export function registerPassphrase(program: Command, cli: Cli): void {
  const passphrase = program
    .command('passphrase')
    .description('put the keystore of the home, or the file with the next identity key, under another passphrase')
    .option('--new-passphrase-file <file>', 'read the new passphrase from a file (default: it is asked for)')
    .option('--next-key', 'that of the file with the next identity key instead')
    .option('--next-key-file <file>', 'where that file is now')
    .option('--next-passphrase-file <file>', 'its present passphrase (default: --passphrase-file)')
  cli.define<PassphraseOptions>(passphrase, {
    example: [
      'keyturn passphrase --new-passphrase-file new.txt',
      'keyturn passphrase --next-key --next-key-file /media/usb/next.keystore',
    ],
    dryRun: true,
    run: runPassphrase,
  })
}

async function runPassphrase(context: Context, options: PassphraseOptions): Promise<CommandResult> {
  const home = await openHome(context, {
    write: true,
    nextKeyFile: options.nextKeyFile,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  const isNext = options.nextKey === true || options.nextKeyFile !== undefined
  const file = isNext ? home.nextKeyFile : home.paths.keystore
  const keys = isNext ? await home.nextKeys() : await home.keys()
  if (context.dryRun) return { data: { file, changed: false }, text: `Would put ${file} under another passphrase` }
  const fresh = await context.ask.newPassphrase(
    isNext ? 'New passphrase of the next identity key' : 'New passphrase',
    options.newPassphraseFile,
  )
  try {
    await keys.store.changePassphrase(fresh)
  } finally {
    wipe(fresh)
  }
  return {
    data: { file, changed: true },
    text: `${file} opens under the new passphrase alone; backups made before open under theirs`,
  }
}
