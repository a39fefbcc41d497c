import type { Command } from 'commander'
import { scopes } from '../api.ts'
import type { Scope } from '../api.ts'
import { configOf, printAnswer } from '../command-line.ts'
import { optionsFromConfig } from '../from-config.ts'
import { createReleaseServer } from '../server.ts'

function list(value: string, previous: string[]): string[] {
  return [...previous, ...value.split(',').map((item) => item.trim()).filter((item) => item !== '')]
}

/** `keyturn-server token create`: the first token is made on the machine itself, never by the first visitor. */
export function addTokenCommands(program: Command): void {
  program.command('token').description('Tokens of the management API').command('create').description('Create a token; its secret is shown this once')
    .requiredOption('--name <text>', 'what it is for')
    .requiredOption('--scope <names>', `scopes, with commas: ${scopes.join(', ')}`, list, [])
    .option('--product <slugs>', 'limit to these products', list, [])
    .option('--channel <names>', 'limit to these channels', list, [])
    .option('--days <number>', 'days until it expires, 1 to 400', '90')
    .action(async (options: { name: string; scope: string[]; product: string[]; channel: string[]; days: string }, command: Command) => {
      const server = await createReleaseServer(await optionsFromConfig(await configOf(command)))
      try {
        const created = await server.createToken({
          name: options.name, scopes: options.scope as Scope[], products: options.product, channels: options.channel, days: Number(options.days),
        })
        printAnswer(command, created, created.secret)
      } finally {
        await server.close()
      }
    })
}
