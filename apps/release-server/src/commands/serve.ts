import { once } from 'node:events'
import { suppressCoreDumps } from '@keyturn/runtime-key/node'
import type { Command } from 'commander'
import { configOf, printAnswer } from '../command-line.ts'
import { optionsFromConfig } from '../from-config.ts'
import { createReleaseServer } from '../server.ts'

/** `keyturn-server serve`: runs until SIGTERM or SIGINT, then drains. */
export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('run the server')
    .option('--host <address>', 'address to listen on')
    .option('--port <number>', 'port to listen on; 0: any')
    .action(async (options: { host?: string; port?: string }, command: Command) => {
      if (options.host !== undefined) process.env['KEYTURN_HOST'] = options.host
      if (options.port !== undefined) process.env['KEYTURN_PORT'] = options.port
      const config = await configOf(command)
      // Before the first key is read: what the platform lacks is left to the unit of the service.
      if (config.passphraseFile !== undefined) await suppressCoreDumps()
      const server = await createReleaseServer(await optionsFromConfig(config))
      const { url } = await server.listen()
      printAnswer(command, { url }, `Listening on ${url}`)
      const ended = new AbortController()
      await Promise.race([
        once(process, 'SIGTERM', { signal: ended.signal }),
        once(process, 'SIGINT', { signal: ended.signal }),
      ])
      ended.abort()
      await server.close()
    })
}
