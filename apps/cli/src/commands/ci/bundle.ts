import { mkdtemp, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { base64Encode, formatBytes, systemRandom, utf8Encode, wipe } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { openHome } from '@keyturn/publisher'
import { makeBundle, openStream, readHomeStream, sealStream, streamHome } from '@keyturn/publisher/backup'
import type { BackupCount, BundleRole } from '@keyturn/publisher/backup'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { readBackup } from '../backup-file.ts'

interface BundleOptions {
  readonly out: string
  readonly roles: string
  readonly newPassphraseFile?: string | undefined
  readonly force?: boolean | undefined
}

const PASSPHRASE_BYTES = 24

/** Registers `keyturn ci bundle`. */
export function registerCiBundle(ci: Command, cli: Cli): void {
  const bundle = ci
    .command('bundle')
    .description('seal a home for CI into one file: keys that make releases, no identity key')
    .requiredOption('--out <file>', 'file to write')
    .option('--roles <list>', 'roles whose keys it gets: release, head or both', 'release,head')
    .option(
      '--new-passphrase-file <file>',
      'passphrase of the bundle; a random one is written there if the file does not exist (default: it is asked for)',
    )
    .option('--force', 'replace an existing file')
  cli.define<BundleOptions>(bundle, {
    example: 'keyturn ci bundle --out ci.home --new-passphrase-file ci-passphrase.txt',
    run: runBundle,
  })
}

function rolesOf(text: string): BundleRole[] {
  const roles = [...new Set(text.split(',').map((role) => role.trim()))]
  const isRole = (role: string): role is BundleRole => role === 'release' || role === 'head'
  if (roles.every(isRole)) return roles
  throw new CliError('CLI_USAGE', `--roles expects release, head or release,head, got "${text}"`)
}

/** A passphrase that nobody has to type: long and random, in a file that only this user reads. */
async function bundlePassphrase(context: Context, file: string | undefined): Promise<Uint8Array> {
  if (file !== undefined && !(await pathExists(file))) {
    const random = utf8Encode(`${base64Encode(systemRandom(PASSPHRASE_BYTES))}\n`)
    await writeFileAtomic(resolve(file), random, { mode: 0o600, overwrite: false })
    wipe(random)
  }
  return await context.ask.newPassphrase('New passphrase of the bundle', file)
}

async function runBundle(context: Context, options: BundleOptions): Promise<CommandResult> {
  const target = resolve(options.out)
  const roles = rolesOf(options.roles)
  if (options.force !== true && (await pathExists(target)))
    throw new CliError('CLI_EXISTS', `"${target}" is already there`, { hint: 'Give another name, or --force' })
  const home = await openHome(context, { write: true })
  if (home.description.bundle !== undefined)
    throw new CliError('CLI_USAGE', 'This home is for CI itself', { hint: 'Make bundles in the home of the identity' })
  await home.keys() // a mistyped passphrase of the home leaves no file
  const passphrase = await bundlePassphrase(context, options.newPassphraseFile)
  const draft = await mkdtemp(join(dirname(target), `.${basename(target)}.`))
  try {
    const folder = join(draft, 'home')
    const { secrets } = await makeBundle(home, { folder, passphrase, roles, clock: context.clock })
    const written: BackupCount = { files: 0, bytes: 0 }
    await writeFileAtomic(target, sealStream(passphrase, streamHome(folder, false, written)), {
      mode: 0o600,
      overwrite: options.force === true,
      beforeRename: async (temporary) => {
        const read = await readHomeStream(openStream(passphrase, readBackup(temporary)), undefined)
        if (read.files !== written.files || read.bytes !== written.bytes)
          throw new CliError('CLI_BACKUP', 'The bundle does not read back as it was written')
      },
    })
    return {
      data: {
        file: target,
        roles,
        secrets: [...secrets],
        bytes: written.bytes,
        passphrase_file: options.newPassphraseFile,
      },
      text:
        `${target}: a home for CI with ${secrets.join(', ')} (${formatBytes(written.bytes)})\n` +
        'Next: store it and its passphrase as secrets of the job, apart from each other. A job runs ' +
        '"keyturn restore" and "keyturn ship --yes", and stores nothing again. ' +
        'Make a new bundle after each rotation of one of its keys',
    }
  } finally {
    wipe(passphrase)
    await rm(draft, { recursive: true, force: true })
  }
}
