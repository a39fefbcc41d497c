import { openHome } from '@keyturn/publisher'
import { contactName, isWebAddress, readContacts, writeContacts } from '@keyturn/publisher/transport'
import type { Contact } from '@keyturn/publisher/transport'
import { printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'

interface ContactsOptions {
  readonly webhook?: readonly string[] | undefined
  readonly exec?: string | undefined
  readonly arg?: readonly string[] | undefined
  readonly remove?: readonly string[] | undefined
}

/** Registers `keyturn noise contacts`. */
export function registerNoiseContacts(noise: Command, cli: Cli): void {
  const contacts = noise
    .command('contacts')
    .description('set who is notified when keys are published, rotated or revoked; lists them')
    .option('--webhook <url>', 'add an address that gets a POST with JSON, repeatable', collect)
    .option('--exec <program>', 'add a program that gets the same JSON on its standard input; no shell reads it')
    .option('--arg <text>', 'an argument of that program, repeatable', collect)
    .option('--remove <contact>', 'remove one by its address or its line in the list, repeatable', collect)
  cli.define<ContactsOptions>(contacts, {
    example: [
      'keyturn noise contacts --webhook https://chat.example.org/hooks/keys',
      'keyturn noise contacts --exec /usr/local/bin/tell-peers --arg all',
    ],
    dryRun: true,
    run: runContacts,
  })
}

async function runContacts(context: Context, options: ContactsOptions): Promise<CommandResult> {
  const { webhook = [], exec, arg, remove = [] } = options
  if (arg !== undefined && exec === undefined) throw new CliError('CLI_USAGE', '--arg needs --exec')
  const wrong = webhook.find((url) => !isWebAddress(url))
  if (wrong !== undefined)
    throw new CliError('CLI_USAGE', `"${printable(wrong, 80)}" is not an address: https://chat.example.org/hooks/keys`)
  const changes = webhook.length + remove.length > 0 || exec !== undefined
  const home = await openHome(context, { write: changes && !context.dryRun })
  const before = await readContacts(home.paths)
  const unknown = remove.find((name) => !before.some((contact) => contactName(contact) === name))
  if (unknown !== undefined) throw new CliError('CLI_USAGE', `There is no contact "${printable(unknown, 80)}"`)
  const added: readonly Contact[] = [
    ...webhook.map((url) => ({ kind: 'webhook' as const, url })),
    ...(exec === undefined ? [] : [{ kind: 'command' as const, program: exec, args: arg ?? [] }]),
  ]
  const gone = new Set([...remove, ...added.map(contactName)])
  const after = [...before.filter((contact) => !gone.has(contactName(contact))), ...added]
  if (changes && !context.dryRun) await writeContacts(home.paths, after)
  return {
    data: {
      contacts: after.map((contact) => ({ kind: contact.kind, name: contactName(contact) })),
      ...(context.dryRun ? { dry_run: true } : {}),
    },
    text:
      after.length === 0
        ? 'Nobody is notified'
        : formatTable(after.map((contact) => [contact.kind, contactName(contact)])),
  }
}
