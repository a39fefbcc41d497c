import { withArchiveFile } from '@keyturn/m2pack-format/node'
import { formatBytes, hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatTable } from '../../output.ts'
import { findContentKey, findVerifier } from './archive-keys.ts'
import type { ArchiveKeyFlags } from './archive-keys.ts'
import { requireFiles } from '../../paths.ts'

/** Registers `list`. */
export function registerList(parent: Command, cli: Cli): void {
  const command = parent
    .command('list')
    .description('list the files of an archive; only one that is sealed until an hour needs the home that made it')
    .requiredOption('--archive <file>', 'archive to read')
    .option(
      '--public-key <file>',
      'check the signature too (default: with the public key of the home, when it made the archive)',
    )
    .option('--key-id <n>', "key_id of the public key (default: the archive's)")
  cli.define<ArchiveKeyFlags>(command, {
    example: 'keyturn pack list --archive pack/data.m2p',
    run: runList,
  })
}

async function runList(context: Context, flags: ArchiveKeyFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey)
  const found = await findVerifier(context, flags)
  const verifiers = found?.verifiers ?? 'unchecked'
  const isSealed = await withArchiveFile(flags.archive, { verifiers: 'unchecked' }, (archive) => !archive.listable)
  // The names are encrypted until the hour of the release; the home that sealed it has the key.
  const contentKey = isSealed && found !== undefined ? await findContentKey(context, flags, found) : undefined
  return withArchiveFile(flags.archive, { verifiers, contentKey }, (archive) => {
    const note = archive.signatureChecked ? 'signature checked' : 'signature unchecked: give --public-key'
    const rows = archive.entries.map(({ size, storedSize, slot, path }) => [
      formatBytes(size),
      formatBytes(storedSize),
      `slot ${slot}`,
      path,
    ])
    return {
      data: {
        format_version: archive.version,
        key_id: archive.keyId,
        signature_checked: archive.signatureChecked,
        segment_size: archive.segmentSize,
        slots: archive.slotNumbers,
        entries: archive.entries.map((entry) => ({
          path: entry.path,
          size: entry.size,
          stored_size: entry.storedSize,
          offset: entry.offset,
          slot: entry.slot,
          compression: entry.compression,
          executable: entry.executable,
          ...(entry.mtimeMs === undefined ? {} : { modified: new Date(entry.mtimeMs).toISOString() }),
          sha256: hexEncode(entry.sha256),
        })),
      },
      text: [
        ...(rows.length === 0 ? [] : [formatTable(rows)]),
        `${counted(rows.length, 'file')}, key_id ${archive.keyId}, ${note}`,
      ].join('\n'),
    }
  })
}
