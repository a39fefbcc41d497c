import { formatBytes } from '@keyturn/primitives'
import { extractArchive } from '@keyturn/m2pack-format/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { counted } from '../../output.ts'
import { findContentKey, requireVerifier } from './archive-keys.ts'
import type { ArchiveKeyFlags } from './archive-keys.ts'
import { requireFiles } from '../../paths.ts'
import { jobsFlag } from './flags.ts'

interface ExtractFlags extends ArchiveKeyFlags {
  readonly output: string
  readonly path: string[]
  readonly jobs?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers `extract`. */
export function registerExtract(parent: Command, cli: Cli): void {
  const command = parent
    .command('extract')
    .description('extract an archive; every file is checked before it gets its name')
    .requiredOption('--archive <file>', 'archive to read')
    .requiredOption('--output <dir>', 'folder to write')
    .option('--key <file>', 'content key, master.key (default: that of the home that made the archive)')
    .option('--public-key <file>', 'public key of the archive, signing.pub (default: that of the home)')
    .option('--key-id <n>', "key_id of both keys (default: the archive's)")
    .option('--path <path>', 'extract this file or folder alone; may be given again', collect, [])
    .option('--jobs <n>', 'threads (default: one a core)')
    .option('--force', 'replace existing files')
  cli.define<ExtractFlags>(command, {
    example: [
      'keyturn pack extract --archive pack/data.m2p --output extracted --key keys/master.key --public-key ' +
        'keys/signing.pub',
      'keyturn pack extract --archive tree/pack/data.m2p --output extracted',
    ],
    run: runExtract,
  })
}

async function runExtract(context: Context, flags: ExtractFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey, flags.key)
  const found = await requireVerifier(context, flags)
  const { verifiers, keyId } = found
  const contentKey = await findContentKey(context, flags, found)
  if (contentKey === undefined) throw new CliError('CLI_USAGE', 'With --public-key, --key is needed too')
  const bar = context.out.progress('extracting')
  context.defer(() => bar.end())
  const result = await extractArchive(flags.archive, flags.output, {
    verifiers,
    contentKey,
    paths: flags.path,
    overwrite: flags.force === true,
    jobs: jobsFlag(flags.jobs),
    signal: context.signal,
    onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
  })
  bar.end()
  return {
    data: { output: flags.output, key_id: keyId, files: result.files, bytes: result.bytes },
    text: `${flags.output}: ${counted(result.files, 'file')}, ${formatBytes(result.bytes)}`,
  }
}
