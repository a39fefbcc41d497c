import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { printable, wipe } from '@keyturn/primitives'
import { syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { formatPin, Kel } from '@keyturn/kel'
import { incept } from '@keyturn/kel/owner'
import { nextAlias } from '@keyturn/keystore'
import type { SignedEvent } from '@keyturn/kel/owner'
import { checkRepository, gitStore } from '@keyturn/kel/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { lockHome } from '@keyturn/publisher'
import { listNamedIdentities, namedIdentityFolder, writeNamedRecord } from '@keyturn/publisher/identity'
import type { NextKeyPlace } from '@keyturn/publisher/identity'
import { Keys } from '@keyturn/publisher/keys'
import { formatTable } from '../../output.ts'
import { stateJson } from './json.ts'

interface InitOptions {
  readonly alias: string
  readonly nextKeyFile: readonly string[]
  readonly nextThreshold?: string | undefined
  readonly nextPassphraseFile?: string | undefined
  readonly establishmentOnly?: boolean | undefined
  readonly witness: readonly string[]
  readonly witnessesRequired?: string | undefined
  readonly store: string
  readonly repo?: string | undefined
}

/** Registers `keyturn id init`. */
export function registerIdInit(id: Command, cli: Cli): void {
  const init = id
    .command('init')
    .description('create an identity with a log of its own (the release identity is made by "keyturn init")')
    .option('--alias <name>', 'name of its current key', 'main')
    .option('--next-key-file <file>', 'file for a next key, repeatable; best on another medium', collect, [])
    .option('--next-threshold <n>', 'how many next keys a rotation needs (required with several)')
    .option('--next-passphrase-file <file>', 'another passphrase for the files with next keys')
    .option('--establishment-only', 'allow inceptions and rotations only (trait EO)')
    .option('--witness <prefix>', 'a witness, repeatable', collect, [])
    .option('--witnesses-required <n>', 'how many witnesses must sign each event')
    .option('--store <kind>', 'where the log is stored: file, in the home, or git', 'file')
    .option('--repo <dir>', 'the git repository for --store git; its ref is refs/keri/<prefix>/kel')
  cli.define<InitOptions>(init, {
    example: [
      'keyturn id init --alias laptop --next-key-file /media/usb/next.keystore',
      'keyturn id init --alias laptop --store git --repo ~/identity',
      'keyturn id init --alias team --next-key-file a.keystore --next-key-file b.keystore --next-key-file ' +
        'c.keystore --next-threshold 2',
    ],
    dryRun: true,
    run: runInit,
  })
}

function count(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 256)
    throw new CliError('CLI_USAGE', `${flag} wants a whole number`)
  return value
}

async function runInit(context: Context, options: InitOptions): Promise<CommandResult> {
  const { alias } = options
  if (!/^[a-zA-Z0-9][a-zA-Z0-9._/:-]{0,100}$/.test(alias))
    throw new CliError('CLI_USAGE', `"${printable(alias)}" is not an alias: letters, digits and . _ - / : only`)
  const named = await listNamedIdentities(context.homeFolder)
  if (named.some((identity) => identity.alias === alias))
    throw new CliError('CLI_HOME_EXISTS', `An identity with the alias "${alias}" is here already`, {
      hint: 'Give another --alias',
    })
  if (options.nextKeyFile.length > 1 && options.nextThreshold === undefined) {
    throw new CliError(
      'CLI_USAGE',
      '--next-threshold is required with several next keys: there is no default that fits all',
    )
  }
  if (options.witness.length > 0 && options.witnessesRequired === undefined)
    throw new CliError('CLI_USAGE', '--witnesses-required is required with witnesses')
  const repository = await repositoryOf(options)
  if (context.dryRun)
    return { data: { created: false, alias }, text: `Would create identity "${alias}" in ${context.homeFolder}` }
  await lockHome(context)
  const { event, next } = await createIdentity(context, options, repository)
  const pin = formatPin({ prefix: event.prefix, place: { sn: event.sn, said: event.said } })
  const files = next.map(({ file }) => file)
  return {
    data: { created: true, alias, pin, next_key_files: files, repository, state: stateJson(event.state) },
    text: [
      formatTable([
        ['identity', event.prefix],
        ['alias', alias],
        ['pin', pin],
        ...(repository === undefined ? [] : [['log', `refs/keri/${event.prefix}/kel in ${repository}`]]),
        ...files.map((file) => ['next key', file]),
      ]),
      '',
      'Move the next key to another medium now: anyone who has it controls the identity.',
      ...(options.witness.length === 0
        ? []
        : [
            `It counts once its witnesses have signed: keyturn id witness add URL --alias ${alias}, then ` +
              `keyturn id witness collect --alias ${alias}`,
          ]),
    ].join('\n'),
  }
}

/** The repository of `--store git`, which git can write to; undefined for a log in the home. */
async function repositoryOf({ store, repo }: InitOptions): Promise<string | undefined> {
  if (store !== 'file' && store !== 'git') throw new CliError('CLI_USAGE', '--store knows "file" and "git" only')
  if (store === 'file') {
    if (repo !== undefined) throw new CliError('CLI_USAGE', '--repo needs --store git')
    return undefined
  }
  if (repo === undefined)
    throw new CliError('CLI_USAGE', '--store git needs --repo DIR, an existing repository: make one with "git init"')
  const path = resolve(repo)
  await checkRepository(path)
  return path
}

/** Makes the folder of the identity beside its place and renames it, so that it is whole or not there. */
async function createIdentity(
  context: Context,
  options: InitOptions,
  repository: string | undefined,
): Promise<{ event: SignedEvent; next: readonly NextKeyPlace[] }> {
  const parent = dirname(namedIdentityFolder(context.homeFolder, 'x'))
  await mkdir(parent, { recursive: true, mode: 0o700 })
  const draft = join(parent, `.new-${process.pid}`)
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { mode: 0o700 })
  const made: string[] = []
  try {
    const { event, next } = await fill(context, options, draft, made)
    const since = new Date(context.clock()).toISOString()
    await writeNamedRecord(draft, event.prefix, { alias: options.alias, next }, { since, repository })
    await putLog(event, draft, repository)
    const folder = namedIdentityFolder(context.homeFolder, event.prefix)
    await rename(draft, folder)
    await syncFolder(parent)
    return {
      event,
      next: next.map(({ alias, file }) => ({
        alias,
        file: file.startsWith(draft) ? join(folder, file.slice(draft.length + 1)) : file,
      })),
    }
  } catch (error) {
    for (const file of made) await rm(file, { force: true })
    await rm(draft, { recursive: true, force: true })
    throw error
  }
}

/** Where its witnesses have to sign first, the inception waits in the folder. */
async function putLog(event: SignedEvent, draft: string, repository: string | undefined): Promise<void> {
  if (repository === undefined || event.state.witnessThreshold > 0)
    return await writeFileAtomic(join(draft, 'log.cesr'), event.message)
  await (
    await Kel.open(gitStore(repository).log(event.prefix), event.prefix, { own: true })
  ).append(event.message, 'local')
}

async function fill(
  context: Context,
  options: InitOptions,
  draft: string,
  made: string[],
): Promise<{ event: SignedEvent; next: readonly NextKeyPlace[] }> {
  const { ask, clock } = context
  const passphrase = await ask.passphrase('New passphrase', { fresh: true })
  const nextPassphrase =
    options.nextPassphraseFile === undefined
      ? passphrase.slice()
      : await ask.passphrase('Passphrase of the next identity key', { fresh: true, file: options.nextPassphraseFile })
  const keys = await Keys.create(join(draft, 'keystore'), passphrase, { clock })
  try {
    await keys.makeSigning(options.alias, 'identity')
    const next: NextKeyPlace[] = []
    const nextKeys: Uint8Array[] = []
    const files =
      options.nextKeyFile.length === 0
        ? [join(draft, 'next.keystore')]
        : options.nextKeyFile.map((file) => resolve(file))
    for (const file of files) {
      const store = await Keys.create(file, nextPassphrase, { clock, keepPrevious: false })
      if (isAbsolute(file) && !file.startsWith(draft)) made.push(file)
      const alias = nextAlias(options.alias, 0)
      nextKeys.push(await store.makeSigning(alias, 'identity'))
      await store.close()
      next.push({ alias, file })
    }
    const signer = await keys.eventSigner([options.alias])
    const nextThreshold = count(options.nextThreshold, '--next-threshold')
    const witnessThreshold = count(options.witnessesRequired, '--witnesses-required')
    const event = await incept(
      {
        keys: signer.publicKeys,
        nextKeys,
        traits: options.establishmentOnly === true ? ['EO'] : [],
        witnesses: options.witness,
        ...(nextThreshold === undefined ? {} : { nextThreshold }),
        ...(witnessThreshold === undefined ? {} : { witnessThreshold }),
      },
      signer,
    )
    return { event, next }
  } finally {
    await keys.close()
    wipe(passphrase, nextPassphrase)
  }
}
