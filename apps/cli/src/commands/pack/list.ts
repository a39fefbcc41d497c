import { withArchiveFile } from '@keyturn/m2pack-format/node'
import { formatBytes, hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatTable } from '../../output.ts'
import { findVerifier } from './archive-keys.ts'
import type { ArchiveKeyFlags } from './archive-keys.ts'
import { requireFiles } from '../../paths.ts'

/** Registers `list`. */
export function registerList(parent: Command, cli: Cli): void {
  const command = parent
    .command('list')
    .description('list the files of an archive; no key is needed')
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
  const verifiers = (await findVerifier(context, flags))?.verifiers ?? 'unchecked'
  return withArchiveFile(flags.archive, { verifiers }, (archive) => {
    const note = archive.signatureChecked ? 'signature checked' : 'signature unchecked: give --public-key'
    const rows = archive.entries.map(({ size, storedSize, slot, path }) => [
      formatBytes(size),
      formatBytes(storedSize),
      `slot ${slot}`,
      path,
    ])
    return {
      data: {
        key_id: archive.keyId,
        signature_checked: archive.signatureChecked,
        segment_size: archive.segmentSize,
        slots: archive.slotNumbers,
        entries: archive.entries.map(({ path, size, storedSize, offset, slot, compression, sha256 }) => ({
          path,
          size,
          stored_size: storedSize,
          offset,
          slot,
          compression,
          sha256: hexEncode(sha256),
        })),
      },
      text: [
        ...(rows.length === 0 ? [] : [formatTable(rows)]),
        `${counted(rows.length, 'file')}, key_id ${archive.keyId}, ${note}`,
      ].join('\n'),
    }
  })
}
