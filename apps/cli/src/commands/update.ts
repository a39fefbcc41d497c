import { formatBytes } from '@keyturn/primitives'
import { keepSettings } from '@keyturn/install-engine'
import { fetchAhead, preloadData, preloadText, updateData, updateText } from '@keyturn/launcher-daemon'
import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { counted } from '../output.ts'
import type { InstallOptions } from '../install.ts'
import { installFlags, openInstall } from '../install.ts'

/** Registers `keyturn update`. */
export function registerUpdate(program: Command, cli: Cli): void {
  const update = installFlags(
    program
      .command('update')
      .description('update an install to the newest release: verified, only what changed, all or nothing'),
  )
  cli.define<InstallOptions>(update, {
    example: [
      'keyturn update --dir client --server https://releases.example/ --trust "did:keri:E…?sn=0&said=E…"',
      'keyturn update --dir client',
    ],
    dryRun: true,
    run: async (context, options) => {
      const install = await openInstall(context, options)
      const { signal, dryRun } = context
      const { result, ahead } = await (async () => ({
        result: await install.engine.update({ signal, dryRun }),
        ahead: dryRun
          ? ({ outcome: 'none', downloadedBytes: 0 } as const)
          : await fetchAhead(install.engine, { signal }),
      }))().finally(install.end)
      if (!context.dryRun) await keepSettings(install.folder, install.settings)
      return {
        data: { ...updateData(result), ...preloadData(ahead), dry_run: context.dryRun },
        text: context.dryRun
          ? `Would install ${result.version ?? 'nothing'}: ${counted(result.writtenFiles, 'file')}, ` +
            `${formatBytes(result.downloadedBytes)} to download`
          : updateText(result) + preloadText(ahead),
      }
    },
  })
}
