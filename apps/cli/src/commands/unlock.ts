import { KeystoreError } from '@keyturn/keystore'
import { openKeystore } from '@keyturn/keystore/node'
import { wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { protectedFiles } from '@keyturn/publisher/keys'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { startAgent } from '../agent/start-agent.ts'
import { durationMs } from '../flags/values.ts'

interface UnlockOptions {
  readonly for: string
}

const MAX_MS = 12 * 60 * 60 * 1000

/** Registers `keyturn unlock`. */
export function registerUnlock(program: Command, cli: Cli): void {
  const unlock = program
    .command('unlock')
    .description('unlock the keys of the home for a while: commands of this user ask for no passphrase meanwhile')
    .option('--for <time>', 'how long: 15m, 2h; at most 12h', '15m')
  cli.define<UnlockOptions>(unlock, {
    example: ['keyturn unlock', 'keyturn unlock --for 1h', 'keyturn lock'],
    dryRun: true,
    run: runUnlock,
  })
}

async function runUnlock(context: Context, options: UnlockOptions): Promise<CommandResult> {
  const forMs = durationMs(options.for, '--for')
  if (forMs > MAX_MS) throw new CliError('CLI_USAGE', '--for wants at most 12h')
  const keystores = (await protectedFiles(context)).filter(({ kind }) => kind === 'keystore')
  if (keystores.length === 0)
    throw new CliError('CLI_HOME_MISSING', `No keys in "${context.homeFolder}"`, {
      hint: 'If you had keys, bring them back with "keyturn restore FILE"; to begin, run "keyturn init"; or give --home',
    })
  const passphrase = await context.ask.passphrase('Passphrase', { fromAgent: false })
  try {
    const paths = keystores.map(({ path }) => path)
    await requireOpen(paths, passphrase)
    if (context.dryRun)
      return { data: { unlocked: false, dry_run: true }, text: `Would unlock the keys for ${options.for}` }
    const until = new Date(await startAgent(context, passphrase, forMs)).toISOString()
    return {
      data: { unlocked: true, unlocked_until: until },
      text:
        `Unlocked until ${until}, or until the machine sleeps, reboots, or you run "keyturn lock".\n` +
        'Until then every program that runs as you can use these keys. Next identity keys are still asked for.',
    }
  } finally {
    wipe(passphrase)
  }
}

/** A mistyped passphrase is found now, not by the first command that needs it. */
async function requireOpen(paths: readonly string[], passphrase: Uint8Array): Promise<void> {
  for (const path of paths) {
    if (!(await pathExists(path))) continue
    try {
      ;(await openKeystore(path, passphrase)).close()
      return
    } catch (error) {
      if (!(error instanceof KeystoreError) || error.code !== 'KEY_PASSPHRASE') throw error
    }
  }
  throw new KeystoreError('KEY_PASSPHRASE', `The passphrase does not open "${paths[0] ?? ''}"`, {
    hint: 'Nothing was unlocked; type it again',
  })
}
