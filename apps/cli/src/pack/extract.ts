import { extractArchive } from '@keyturn/m2pack-format/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { formatBytes } from '../output.ts'
import { archiveKeyId, contentKey, jobsFlag, keyIdFlag, requireFiles, verifiersFor } from './flags.ts'

interface ExtractFlags {
  readonly archive: string
  readonly output: string
  readonly key: string
  readonly publicKey: string
  readonly keyId?: string
  readonly path: string[]
  readonly jobs?: string
  readonly force?: boolean
}

const collect = (value: string, all: string[]): string[] => [...all, value]

/** Registers `extract`. */
export function registerExtract(parent: Command, cli: Cli): void {
  const command = parent
    .command('extract')
    .description('extract an archive; every file is checked before it gets its name')
    .requiredOption('--archive <file>', 'archive to read')
    .requiredOption('--output <dir>', 'folder to write')
    .requiredOption('--key <file>', 'content key (master.key)')
    .requiredOption('--public-key <file>', 'public key of the archive (signing.pub)')
    .option('--key-id <n>', "key_id that both keys stand for (default: the archive's)")
    .option('--path <path>', 'extract this file or folder alone; may be given again', collect, [])
    .option('--jobs <n>', 'threads (default: one a core)')
    .option('--force', 'replace existing files')
  cli.define<ExtractFlags>(command, {
    example:
      'keyturn pack extract --archive pack/data.m2p --output tree --key keys/master.key --public-key keys/signing.pub',
    run: runExtract,
  })
}

async function runExtract(context: Context, flags: ExtractFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey, flags.key)
  const verifiers = await verifiersFor(flags.archive, flags.publicKey, flags.keyId)
  const keyId = flags.keyId === undefined ? await archiveKeyId(flags.archive) : keyIdFlag(flags.keyId)
  const bar = context.out.progress('extracting')
  context.defer(() => bar.end())
  const result = await extractArchive(flags.archive, flags.output, {
    verifiers,
    contentKey: await contentKey(context, flags.key, keyId),
    paths: flags.path,
    overwrite: flags.force === true,
    jobs: jobsFlag(flags.jobs),
    signal: context.signal,
    onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
  })
  bar.end()
  return {
    data: { output: flags.output, key_id: keyId, files: result.files, bytes: result.bytes },
    text: `${flags.output}: ${result.files} files, ${formatBytes(result.bytes)}`,
  }
}
