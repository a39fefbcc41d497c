import { resolve } from 'node:path'
import { printable } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { Kel, KelError, compareLogs, verifyLog } from '@keyturn/kel'
import { checkRepository, exportBundle, gitStore, writeAuthsRegistry } from '@keyturn/kel/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { openIdentity, openOwnLog } from '@keyturn/publisher/identity'
import { LAYOUTS, MAX_LOG_BYTES, takeOver } from './take-over.ts'
import type { Layout } from './take-over.ts'

interface ExportOptions {
  readonly alias?: string | undefined
  readonly force?: boolean | undefined
  readonly git?: string | undefined
  readonly layout: string
  readonly bundle?: string | undefined
}

/** Registers `keyturn id export`. */
export function registerIdExport(id: Command, cli: Cli): void {
  const command = id
    .command('export [file]')
    .description('write the log as a plain CESR stream, in first-seen order, or into a git repository')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--force', 'overwrite the file')
    .option('--git <dir>', 'into the refs of a git repository instead of a file')
    .option('--layout <kind>', 'keri: refs/keri/<prefix>/kel; auths: refs/auths/registry', 'keri')
    .option('--bundle <file>', 'with --git: write a bundle that "git fetch" reads, too')
  cli.define<ExportOptions>(command, {
    example: ['keyturn id export identity.cesr', 'keyturn id export --git ~/identity --bundle identity.bundle'],
    dryRun: true,
    run: runExport,
  })
}

async function runExport(
  context: Context,
  options: ExportOptions,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  if ((file === undefined) === (options.git === undefined))
    throw new CliError('CLI_USAGE', 'Give either a file or --git')
  const layout = layoutOf(options)
  const kel = await openOwnLog(await openIdentity(context, options))
  for (const path of [file, options.bundle])
    if (path !== undefined && options.force !== true && (await pathExists(path)))
      throw new CliError('CLI_EXISTS', `"${printable(path)}" is there already`, { hint: 'Give --force' })
  if (options.git !== undefined) return await intoGit(context, { ...options, layout, git: resolve(options.git) }, kel)
  const bytes = await kel.export()
  const data = { file, bytes: bytes.length, sn: kel.state.sn, said: kel.state.said }
  const what = `${counted(kel.events.length, 'event')}, ${bytes.length} bytes`
  if (context.dryRun) return { data: { ...data, dry_run: true }, text: `Would write ${what}, to ${file}` }
  await writeFileAtomic(file as string, bytes)
  return { data, text: `${what}, written to ${file}` }
}

function layoutOf({ git, layout, bundle }: ExportOptions): Layout {
  if (git === undefined && (layout !== 'keri' || bundle !== undefined))
    throw new CliError('CLI_USAGE', '--layout and --bundle need --git')
  if (bundle !== undefined && layout !== 'keri')
    throw new CliError('CLI_USAGE', '--bundle carries refs/keri/: it needs --layout keri')
  const known = LAYOUTS.find((name) => name === layout)
  if (known === undefined) throw new CliError('CLI_USAGE', `--layout knows ${LAYOUTS.join(' and ')} only`)
  return known
}

async function intoGit(
  context: Context,
  { git, layout, bundle }: ExportOptions & { readonly git: string; readonly layout: Layout },
  kel: Kel,
): Promise<CommandResult> {
  await checkRepository(git)
  const ref = layout === 'keri' ? `refs/keri/${kel.prefix}/kel` : 'refs/auths/registry'
  const data = { repository: git, ref, sn: kel.state.sn, said: kel.state.said }
  if (context.dryRun) return { data: { ...data, dry_run: true }, text: `Would write the log to ${ref} in ${git}` }
  const stream = await kel.export()
  const log = verifyLog(stream, { prefix: kel.prefix, maxBytes: MAX_LOG_BYTES })
  const added =
    layout === 'keri'
      ? await push(git, stream, kel.prefix)
      : await writeAuthsRegistry(git, log, { nowMs: context.clock() })
  if (bundle !== undefined) await exportBundle(git, kel.prefix, resolve(bundle))
  return {
    data: { ...data, added, bundle },
    text: `${counted(added, 'event')} added to ${ref} in ${git}${bundle === undefined ? '' : `; bundle: ${bundle}`}`,
  }
}

/** Brings the log in git up to ours. One that is ahead, or another one, is never written over. */
async function push(git: string, stream: Uint8Array, prefix: string): Promise<number> {
  const there = await Kel.open(gitStore(git).log(prefix), prefix, { maxLogBytes: MAX_LOG_BYTES })
  if (there.isStarted) {
    const limits = { prefix, maxBytes: MAX_LOG_BYTES }
    const { relation } = compareLogs(verifyLog(await there.export(), limits), verifyLog(stream, limits))
    if (relation === 'behind')
      throw new KelError('KEL_ROLLBACK', `The repository has the log up to event ${there.state.sn}, which is more`, {
        hint: `Nothing was written. Take over its events first: keyturn id import --git ${git}`,
      })
  }
  return await takeOver(stream, there)
}
