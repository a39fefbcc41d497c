import { resolve } from 'node:path'
import { parseAccessCode, readAccessCode } from '@keyturn/install-engine'
import { systemRandom, utf8Encode } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import type { ServerOptions } from '@keyturn/publisher/release'
import { openChannelPlace } from './place.ts'

interface ProtectOptions extends ServerOptions {
  readonly codeFile?: string | undefined
}

/** Letters and digits that nobody mistakes for each other when they are read aloud: 32 of them. */
const LETTERS = 'abcdefghjkmnpqrstuvwxyz023456789'
const GROUPS = 4
const GROUP_LETTERS = 5

/** Registers `keyturn channel protect`. */
export function registerProtect(channel: Command, cli: Cli): void {
  const protect = withServer(
    channel
      .command('protect <channel>')
      .description('let only players with an access code read a channel; another code replaces the one before')
      .option(
        '--code-file <file>',
        'file with the code; a new code is written there if it does not exist (default: a new code is printed)',
      ),
  )
  cli.define<ProtectOptions>(protect, {
    example: ['keyturn channel protect beta', 'keyturn channel protect beta --code-file beta.code'],
    run: runProtect,
  })
}

async function runProtect(
  context: Context,
  options: ProtectOptions,
  [name]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const { client, product, channel } = await openChannelPlace(context, options, name)
  const file = options.codeFile === undefined ? undefined : resolve(options.codeFile)
  const isKnown = file !== undefined && (await pathExists(file))
  const code = isKnown ? await readAccessCode(file) : newCode()
  const { protected: wasProtected } = await client.channelAccess(product, channel)
  if (wasProtected) await context.ask.confirm(`Replace the access code of channel "${channel}"? The old one ends now.`)
  // The file comes first: a code in force that nobody has would lock everyone out.
  if (file !== undefined && !isKnown)
    await writeFileAtomic(file, utf8Encode(`${code}\n`), { mode: 0o600, overwrite: false })
  await client.protectChannel(product, channel, code)
  return {
    data: {
      product,
      channel,
      protected: true,
      replaced: wasProtected,
      code_file: file,
      ...(file === undefined && { code }),
    },
    text: [
      `Channel "${channel}" answers only to those with the access code`,
      file === undefined ? `Code: ${code}` : `Code in ${file}`,
      'Players enter it in the settings of the launcher; on a terminal: --access-code-file',
    ].join('\n'),
  }
}

/** 100 random bits in groups of five letters. */
function newCode(): string {
  const random = systemRandom(GROUPS * GROUP_LETTERS)
  const letters = Array.from(random, (byte) => LETTERS.charAt(byte % LETTERS.length))
  const groups = Array.from({ length: GROUPS }, (_, at) =>
    letters.slice(at * GROUP_LETTERS, (at + 1) * GROUP_LETTERS).join(''),
  )
  return parseAccessCode(groups.join('-'))
}
