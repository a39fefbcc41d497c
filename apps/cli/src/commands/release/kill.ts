import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { openHome } from '@keyturn/publisher'
import { killKeys, openKnownClient, uploadKills } from '@keyturn/publisher/release'
import type { KilledKey, KilledRole, ServerOptions } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { withServer } from '../../flags/server.ts'

interface KillOptions extends ServerOptions {
  readonly local?: boolean | undefined
  readonly out?: string | undefined
}

/** Registers `keyturn release kill`. */
export function registerKill(release: Command, cli: Cli): void {
  const kill = withServer(
    release
      .command('kill')
      .description('end a stolen release or head key, by that key: launchers install nothing under it and play on')
      .argument('[role]', 'which key: release, head or both', 'both')
      .option('--local', 'sign the notices, ask no server and show them to nobody yet')
      .option('--out <folder>', 'also write the signed notices there, for another machine to send'),
  )
  cli.define<KillOptions>(kill, {
    example: ['keyturn release kill --dry-run', 'keyturn release kill both --yes'],
    dryRun: true,
    run: (context, options, [role]) => runKill(context, options, role ?? 'both'),
  })
}

function rolesOf(role: string): readonly KilledRole[] {
  if (role === 'both') return ['release', 'head']
  if (role === 'release' || role === 'head') return [role]
  throw new CliError('CLI_USAGE', `Cannot end the key of role "${role}": expected release, head or both`)
}

/** Not refused while the home is frozen or a rotation is half done: it is for the night on which that happens. */
async function runKill(context: Context, options: KillOptions, role: string): Promise<CommandResult> {
  const roles = rolesOf(role)
  const home = await openHome(context, { write: !context.dryRun })
  const client = await openKnownClient(options, home)
  const { product, aliases } = home.description
  const names = roles.map((name) => `${name} key "${aliases[name]}"`).join(' and ')
  const next = `keyturn rotate ${roles.includes('release') ? 'release' : 'head'}`
  const consequence = [
    `Launchers of ${product} install nothing that the ${names} signs, and play what they have.`,
    'Nobody can undo this, you included.',
    `Updates go on once the identity key puts another key in force (${next}).`,
  ].join('\n')
  const where =
    client === undefined ? 'No server: nothing is shown to launchers yet.' : `It is shown by ${client.server.href}.`
  if (context.dryRun)
    return {
      data: { product, roles: [...roles], dry_run: true },
      text: `Would end the ${names}.\n${consequence}\n${where}`,
    }
  await context.ask.typed('KILL', `${consequence}\n${where}`)
  const killed = await killKeys(home, roles, { nowMs: context.clock() })
  const files = options.out === undefined ? [] : await writeNotices(resolve(options.out), killed)
  if (client !== undefined) await uploadKills(home, client, killed)
  const shown = client !== undefined
  return {
    data: {
      product,
      killed: killed.map(({ role: name, alias, key }) => ({ role: name, alias, key })),
      published: shown,
      files,
    },
    text: [
      ...killed.map(({ role: name, alias, key }) => `The ${name} key "${alias}" (${key}) has ended`),
      shown
        ? 'Launchers see it with their next check. They play what they have, and install nothing'
        : 'No launcher sees it yet: run it again with a server, or send the notices of --out from another machine',
      `Next, with the identity key: ${next}`,
    ].join('\n'),
  }
}

async function writeNotices(folder: string, killed: readonly KilledKey[]): Promise<string[]> {
  await mkdir(folder, { recursive: true })
  const files: string[] = []
  for (const { role, notice } of killed) {
    const file = join(folder, `kill-${role}.json`)
    await writeFileAtomic(file, notice)
    files.push(file)
  }
  return files
}
