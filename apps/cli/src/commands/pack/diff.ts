import { formatBytes } from '@keyturn/primitives'
import { diffPaths } from '@keyturn/m2pack-format/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { collect } from '../../flags/values.ts'
import { requireFiles } from '../../paths.ts'

interface DiffFlags {
  readonly left: string
  readonly right: string
  readonly exclude: string[]
  readonly failOnDiff?: boolean | undefined
}

/** Registers `diff`. */
export function registerDiff(parent: Command, cli: Cli): void {
  const command = parent
    .command('diff')
    .description('compare two trees, each a folder or an archive; no key is needed')
    .requiredOption('--left <path>', 'folder or archive')
    .requiredOption('--right <path>', 'folder or archive')
    .option('--exclude <glob>', 'leave out files of folders; may be given again', collect, [])
    .option('--fail-on-diff', 'exit with 1 when they differ')
  cli.define<DiffFlags>(command, { example: 'keyturn pack diff --left tree --right pack/data.m2p', run: runDiff })
}

async function runDiff(context: Context, flags: DiffFlags): Promise<CommandResult> {
  requireFiles(flags.left, flags.right)
  const { added, removed, changed, unchanged, bytes } = await diffPaths(flags.left, flags.right, {
    exclude: flags.exclude,
    signal: context.signal,
  })
  const stats = {
    added: added.length,
    removed: removed.length,
    changed: changed.length,
    unchanged: unchanged.length,
    bytes,
  }
  const lines = [
    ...added.map((path) => `+ ${path}`),
    ...removed.map((path) => `- ${path}`),
    ...changed.map((path) => `~ ${path}`),
  ]
  const counts =
    `${stats.added} added, ${stats.removed} removed, ${stats.changed} changed, ` + `${stats.unchanged} unchanged`
  const summary = `${counts}; ${formatBytes(bytes)} new; signatures unchecked`
  return {
    data: {
      added: [...added],
      removed: [...removed],
      changed: [...changed],
      unchanged: [...unchanged],
      stats,
      signature_checked: false,
    },
    text: [...lines, summary].join('\n'),
    no: flags.failOnDiff === true && lines.length > 0,
  }
}
