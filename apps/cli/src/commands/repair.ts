import { updateData, updateText } from '@keyturn/launcher-daemon'
import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import type { InstallOptions } from '../install.ts'
import { installFlags, openInstall } from '../install.ts'

/** Registers `keyturn repair`. */
export function registerRepair(program: Command, cli: Cli): void {
  const repair = installFlags(
    program.command('repair').description('read every byte of the installed release and fetch what is wrong'),
  )
  cli.define<InstallOptions>(repair, {
    example: 'keyturn repair --dir client',
    run: async (context, options) => {
      const install = await openInstall(context, options)
      const result = await install.engine.repair({ signal: context.signal }).finally(install.end)
      return { data: updateData(result), text: updateText(result) }
    },
  })
}
