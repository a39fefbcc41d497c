import type { Command } from 'commander'
import { configOf, printAnswer } from '../command-line.ts'
import { ServerError } from '../errors.ts'
import { optionsFromConfig } from '../from-config.ts'
import { createReleaseServer } from '../server.ts'

/** `keyturn-server log-key`: the key of a log, before its first entry. */
export function addLogKeyCommand(program: Command): void {
  program
    .command('log-key')
    .description('print the key of the log of a product, for witnesses and policies; makes it if there is none')
    .argument('<product>', 'the product')
    .action(async (product: string, _options: object, command: Command) => {
      if (!/^[a-z0-9-]{1,64}$/.test(product))
        throw new ServerError('SRV_CONFIG', `"${product}" is not the name of a product: expected a-z, 0-9 and "-"`)
      const server = await createReleaseServer(await optionsFromConfig(await configOf(command)))
      try {
        const key = await server.logKey(product)
        if (key === undefined)
          throw new ServerError('SRV_CONFIG', 'This server keeps no logs', { hint: 'Set KEYTURN_LOG_ORIGIN' })
        printAnswer(command, { product, key }, key)
      } finally {
        await server.close()
      }
    })
}
