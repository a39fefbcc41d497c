import type { Archive, BuildFormatOptions, FormatVersion } from '@keyturn/m2pack-format'
import { buildFolder, openArchiveFile } from '@keyturn/m2pack-format/node'
import { formatBytes, hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect, powerOfTwo, wholeNumber } from '../../flags/values.ts'
import { counted } from '../../output.ts'
import { requireFiles, requireFolder } from '../../paths.ts'
import {
  buildErrors,
  contentKey,
  formatVersion,
  isManifestOnly,
  jobsFlag,
  keyIdFlag,
  ownVerifiers,
  signingSeed,
  slots,
} from './flags.ts'

interface BuildFlags {
  readonly input: string
  readonly output: string
  readonly key: string
  readonly signSecretKey: string
  readonly keyId: string
  readonly slots?: string | undefined
  readonly level: string
  readonly jobs?: string | undefined
  readonly previous?: string | undefined
  readonly publicKey?: string | undefined
  readonly full?: boolean | undefined
  readonly align: string
  readonly segmentSize: string
  readonly formatVersion?: string | undefined
  readonly mtimes?: boolean | undefined
  readonly exclude: string[]
  readonly ymirPrefix?: boolean | undefined
  readonly force?: boolean | undefined
}

/** Registers `build`. */
export function registerBuild(parent: Command, cli: Cli): void {
  const command = parent
    .command('build')
    .description('pack a folder into an archive')
    .requiredOption('--input <dir>', 'folder to pack')
    .requiredOption('--output <file>', 'archive to write')
    .requiredOption('--key <file>', 'content key (master.key)')
    .requiredOption('--sign-secret-key <file>', 'archive signing key (signing.key)')
    .option('--key-id <n>', 'number of the content key', '1')
    .option('--slots <file>', 'slots file (default: slots.key beside the content key, else slot 1 is derived)')
    .option('--zstd-level, --level <n>', 'zstd level, 1 to 22', '12')
    .option('--jobs <n>', 'threads (default: one a core); the bytes do not depend on it')
    .option(
      '--previous <file>',
      'the archive this one follows, or its header and manifest alone: unchanged files keep slot and bytes',
    )
    .option('--public-key <file>', 'public key of the previous archive (default: that of the signing key)')
    .option('--full', 'encrypt everything again under the newest slot')
    .option('--align <n>', 'start payloads at multiples of this power of two', '1')
    .option('--segment-size <n>', 'bytes in a segment, a power of two from 65536 to 16777216', '1048576')
    .option(
      '--format-version <n>',
      '2: a small change of a large file costs one segment, not the file (default: that of --previous, else 1)',
    )
    .option('--mtimes', 'keep times of modification (format version 2)')
    .option('--exclude <glob>', 'leave out what matches; may be given again', collect, [])
    .option('--ymir-prefix', 'store a leading "ymir work/" as "d:/ymir work/"')
    .option('--deterministic', 'accepted for old scripts: every build is reproducible')
    .option('--force', 'replace an existing archive')
  cli.define<BuildFlags>(command, {
    example: [
      'keyturn pack build --input tree --output pack/data.m2p --key keys/master.key --sign-secret-key keys/signing.key',
      'keyturn pack build --input tree --output new.m2p --key new/master.key --key-id 2 ' +
        '--sign-secret-key keys/signing.key --slots keys/slots.key --previous old.m2p',
      'keyturn pack build --input tree --output pack/big.m2p --key keys/master.key ' +
        '--sign-secret-key keys/signing.key --format-version 2',
    ],
    run: runBuild,
  })
}

async function openPrevious(context: Context, flags: BuildFlags, seed: Uint8Array): Promise<Archive | undefined> {
  if (flags.previous === undefined) return undefined
  const manifestOnly = await isManifestOnly(flags.previous)
  const file = await openArchiveFile(flags.previous, {
    verifiers: await ownVerifiers(flags.previous, flags.publicKey, seed),
    manifestOnly,
  })
  context.defer(() => file.close())
  return file.archive
}

function formatOf(flags: BuildFlags, previous: Archive | undefined): BuildFormatOptions & { version: FormatVersion } {
  const version = flags.formatVersion === undefined ? (previous?.version ?? 1) : formatVersion(flags.formatVersion)
  if (version === 1 && flags.mtimes === true) throw new CliError('CLI_USAGE', '--mtimes needs --format-version 2')
  return {
    version,
    mtimes: flags.mtimes === true,
    level: wholeNumber(flags.level, '--level', 1, 22),
    align: powerOfTwo(flags.align, '--align', 1, 1024 * 1024),
    segmentSize: powerOfTwo(flags.segmentSize, '--segment-size', 65_536, version === 1 ? 16_777_216 : 4_194_304),
    ymirPrefix: flags.ymirPrefix === true,
    full: flags.full === true,
  }
}

function sayWhatIsDownloaded(
  { out }: Context,
  { full, version }: { readonly full?: boolean; readonly version: FormatVersion },
  previous: Archive | undefined,
): void {
  if (previous === undefined) return
  const bytes = previous.source.size
  if (full === true)
    out.step('full', `Encrypting everything again: players download about ${formatBytes(bytes)}`, { bytes })
  if (previous.version !== version)
    out.step('format', `The archive before is of format version ${previous.version}: players download this one whole`, {
      from: previous.version,
      to: version,
    })
}

async function runBuild(context: Context, flags: BuildFlags): Promise<CommandResult> {
  requireFolder(flags.input)
  requireFiles(flags.key, flags.signSecretKey, flags.slots, flags.previous, flags.publicKey)
  const seed = await signingSeed(context, flags.signSecretKey)
  const key = await contentKey(context, flags.key, keyIdFlag(flags.keyId))
  const previous = await openPrevious(context, flags, seed)
  const format = formatOf(flags, previous)
  sayWhatIsDownloaded(context, format, previous)
  const bar = context.out.progress('packing')
  context.defer(() => bar.end())
  const given = await slots(context, flags.slots, flags.key)
  const result = await buildErrors(() =>
    buildFolder(flags.input, flags.output, {
      ...format,
      contentKey: key,
      signingSeed: seed,
      slots: given,
      previous,
      exclude: flags.exclude,
      jobs: jobsFlag(flags.jobs),
      overwrite: flags.force === true,
      signal: context.signal,
      onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
    }),
  )
  bar.end()
  return {
    data: {
      output: flags.output,
      format_version: format.version,
      key_id: result.keyId,
      files: result.files,
      original_bytes: result.originalBytes,
      stored_bytes: result.storedBytes,
      archive_bytes: result.archiveBytes,
      manifest_hash: hexEncode(result.manifestHash),
      slots: [...result.slots],
      carried_files: result.carriedFiles,
      kept_files: result.keptFiles,
    },
    text:
      `${flags.output}: ${counted(result.files, 'file')}, ${formatBytes(result.originalBytes)} packed into ` +
      `${formatBytes(result.archiveBytes)}, key_id ${result.keyId}`,
  }
}
