import { resolve } from 'node:path'
import { printable, wipe } from '@keyturn/primitives'
import { KeystoreError } from '@keyturn/keystore'
import { lockHome } from '@keyturn/publisher'
import { changePassphrases, protectedFiles, protectedFilesOf } from '@keyturn/publisher/keys'
import type { ChangedFile, ProtectedFile } from '@keyturn/publisher/keys'
import type { Command } from 'commander'
import { askAgent } from '../agent/ask-agent.ts'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { formatTable } from '../output.ts'

interface PassphraseOptions {
  readonly alias?: string | undefined
  readonly newPassphraseFile?: string | undefined
  readonly nextKey?: boolean | undefined
  readonly nextKeyFile?: string | undefined
  readonly nextPassphraseFile?: string | undefined
}

/** What became of a file, for people. */
export const OUTCOMES: Readonly<Record<ChangedFile['outcome'], string>> = {
  changed: 'opens under the new passphrase',
  already: 'opened under the new passphrase already',
  other: 'NOT CHANGED: it is under another passphrase',
  missing: 'NOT CHANGED: it is not there; bring its medium, and run the command again',
}

/** Registers `keyturn passphrase`. */
export function registerPassphrase(program: Command, cli: Cli): void {
  const passphrase = program
    .command('passphrase')
    .description('put everything that the passphrase of the home opens under another one')
    .option('--new-passphrase-file <file>', 'read the new passphrase from a file (default: it is asked for)')
    .option('--alias <name>', 'the keys of one identity made by "id init" alone')
    .option('--next-key', 'the file with the next identity key alone')
    .option('--next-key-file <file>', 'the same, where that file is now')
    .option('--next-passphrase-file <file>', 'its present passphrase (default: --passphrase-file)')
  cli.define<PassphraseOptions>(passphrase, {
    example: [
      'keyturn passphrase --new-passphrase-file new.txt',
      'keyturn passphrase --alias laptop',
      'keyturn passphrase --next-key --next-key-file /media/usb/next.keystore',
    ],
    dryRun: true,
    run: runPassphrase,
  })
}

async function runPassphrase(context: Context, options: PassphraseOptions): Promise<CommandResult> {
  if (!context.dryRun) await lockHome(context)
  const isNext = options.nextKey === true || options.nextKeyFile !== undefined
  const files = await filesOf(context, options, isNext)
  const [first] = files
  if (first === undefined)
    throw new CliError('CLI_HOME_MISSING', `No keys in "${context.homeFolder}"`, {
      hint: 'If you had keys, bring them back with "keyturn restore FILE"; to begin, run "keyturn init"; or give --home',
    })
  const list = formatTable(files.map(({ what, path }) => [what, path]))
  if (context.dryRun)
    return {
      data: { file: first.path, changed: false, files: files.map(dataOf) },
      text: `Would put under another passphrase what the present one opens of:\n${list}`,
    }
  const from = await context.ask.passphrase(isNext ? 'Passphrase of the next identity key' : 'Passphrase', {
    file: options.nextPassphraseFile,
  })
  try {
    const to = await context.ask.newPassphrase(
      isNext ? 'New passphrase of the next identity key' : 'New passphrase',
      options.newPassphraseFile,
    )
    try {
      const changed = await changePassphrases(files, from, to)
      // What is unlocked would go on with the passphrase that opens nothing any more.
      await askAgent(context, 'lock')
      return answer(changed, first.path)
    } finally {
      wipe(to)
    }
  } finally {
    wipe(from)
  }
}

async function filesOf(context: Context, options: PassphraseOptions, isNext: boolean): Promise<ProtectedFile[]> {
  const all =
    options.alias === undefined ? await protectedFiles(context) : await protectedFilesOf(context, options.alias)
  if (all === undefined)
    throw new CliError('CLI_USAGE', `No identity of "id init" has the alias "${printable(options.alias ?? '')}"`)
  if (!isNext) return all
  if (options.nextKeyFile !== undefined)
    return [{ kind: 'next-key', what: 'next identity key', path: resolve(options.nextKeyFile) }]
  const next = all.filter(({ kind }) => kind === 'next-key')
  return options.alias === undefined ? next.slice(0, 1) : next
}

function dataOf({ kind, what, path }: ProtectedFile): { kind: string; what: string; path: string } {
  return { kind, what, path }
}

function answer(changed: readonly ChangedFile[], file: string): CommandResult {
  if (!changed.some(({ outcome }) => outcome === 'changed' || outcome === 'already')) {
    if (changed.every(({ outcome }) => outcome === 'missing'))
      throw new CliError('CLI_PATH_UNKNOWN', `No such file: "${file}"`)
    throw new KeystoreError('KEY_PASSPHRASE', `The passphrase does not open "${file}"`, {
      hint:
        'Nothing was changed; run the command again, or see which file --passphrase-file or ' +
        '--next-passphrase-file names',
    })
  }
  return {
    data: {
      file,
      changed: true,
      files: changed.map((one) => ({ ...dataOf(one), outcome: one.outcome })),
    },
    text: [
      formatTable(changed.map(({ what, path, outcome }) => [what, OUTCOMES[outcome], path])),
      'Backups made before open under the passphrase they were made with.',
    ].join('\n'),
  }
}
