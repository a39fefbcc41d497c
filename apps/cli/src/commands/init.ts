import { wipe } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, Context, CommandResult } from '../command.ts'
import { CliError } from '../errors.ts'
import { wholeNumber } from '../flags/values.ts'
import { formatTable } from '../output.ts'
import { createHome } from '@keyturn/publisher/keys'
import type { CreatedHome } from '@keyturn/publisher/keys'

interface InitOptions {
  readonly product: string
  readonly channel: string
  readonly server?: string | undefined
  readonly nextPassphraseFile?: string | undefined
  readonly rolesDays: string
}

/** Registers `keyturn init`. */
export function registerInit(program: Command, cli: Cli): void {
  const init = program
    .command('init')
    .description('create the home folder: keystore, release identity, keys, role document 1')
    .option(
      '--product <name>',
      "the product, a-z, 0-9 and dashes; folders on players' machines are named after it, and it stays",
      'game',
    )
    .option('--channel <name>', 'the default channel', 'stable')
    .option('--server <url>', 'the release server to publish to')
    .option('--next-passphrase-file <file>', 'another passphrase for the file with the next identity key')
    .option('--roles-days <n>', 'days until role document 1 expires, at most 400', '365')
  cli.define<InitOptions>(init, {
    example: 'keyturn init --product metin2 --home ./keys --passphrase-file passphrase.txt',
    dryRun: true,
    run: runInit,
  })
}

function checkOptions(options: InitOptions): void {
  for (const [flag, name] of [
    ['--product', options.product],
    ['--channel', options.channel],
  ] as const) {
    if (!/^[a-z0-9-]{1,64}$/.test(name))
      throw new CliError('CLI_USAGE', `${flag} wants a-z, 0-9 and dashes, at most 64`)
  }
  const { server: address } = options
  if (address !== undefined && !(URL.canParse(address) && ['http:', 'https:'].includes(new URL(address).protocol))) {
    throw new CliError('CLI_USAGE', '--server wants an address like https://updates.example.org')
  }
}

async function runInit(context: Context, options: InitOptions): Promise<CommandResult> {
  const rolesDays = wholeNumber(options.rolesDays, '--roles-days', 1, 400)
  checkOptions(options)
  if (context.dryRun)
    return {
      data: { home: context.homeFolder, created: false },
      text: `Would create keys and log in ${context.homeFolder}`,
    }
  const passphrase = await context.ask.passphrase('New passphrase', { fresh: true })
  const nextPassphrase =
    options.nextPassphraseFile === undefined
      ? passphrase.slice()
      : await context.ask.passphrase('Passphrase of the next identity key', {
          fresh: true,
          file: options.nextPassphraseFile,
        })
  try {
    const { product, channel, server } = options
    const names = { folder: context.homeFolder, product, channel, server, rolesDays }
    return created(
      context,
      names,
      await createHome({ ...names, passphrase, nextPassphrase, clock: context.clock, signal: context.signal }),
      options.nextPassphraseFile !== undefined,
    )
  } finally {
    wipe(passphrase, nextPassphrase)
  }
}

/** What was made, and what to do next. */
function created(
  context: Context,
  { folder, product, channel }: { readonly folder: string; readonly product: string; readonly channel: string },
  { description, pin, nextKeyFile }: CreatedHome,
  hasOwnPassphrase: boolean,
): CommandResult {
  const { prefix } = description.identity
  const next = [
    '',
    'Move the next identity key to another medium now: anyone who has it, and its passphrase, controls the identity.',
    'Nobody can reset the passphrase: keep it where somebody finds it. Then make a backup: keyturn backup FILE',
    'To release something: "keyturn serve" in another terminal, then "keyturn project init" and "keyturn ship"',
  ]
  const facts = formatTable([
    ['home', folder],
    ['product', `${product}, channel ${channel}`],
    ['identity', prefix],
    ['pin for launchers', pin],
    [
      'next identity key',
      `${nextKeyFile}, under ${hasOwnPassphrase ? 'a passphrase of its own' : 'the same passphrase'}`,
    ],
  ])
  return {
    data: { home: folder, product, channel, prefix, pin, next_key_file: nextKeyFile, key_id: 1, roles_version: 1 },
    text: [facts, ...(context.quiet ? [] : next)].join('\n'),
  }
}
