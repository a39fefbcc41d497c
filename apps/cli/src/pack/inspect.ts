import { readArchiveHeader } from '@keyturn/m2pack-format'
import { openFileSource, withArchiveFile } from '@keyturn/m2pack-format/node'
import { hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult } from '../command.ts'
import { formatTable } from '../output.ts'
import { requireFiles, verifiersFor } from './flags.ts'

interface InspectFlags {
  readonly archive: string
  readonly publicKey?: string
}

/** Registers `inspect`. */
export function registerInspect(parent: Command, cli: Cli): void {
  const command = parent
    .command('inspect')
    .description('show header and manifest head of an archive; no key is needed')
    .requiredOption('--archive <file>', 'archive to look at')
    .option('--public-key <file>', 'check the signature too')
  cli.define<InspectFlags>(command, { example: 'keyturn pack inspect --archive pack/data.m2p', run: (_context, flags) => runInspect(flags) })
}

async function readHeader(path: string) {
  const source = await openFileSource(path)
  try {
    return { header: await readArchiveHeader(source), size: source.size }
  } finally {
    await source.close()
  }
}

async function runInspect(flags: InspectFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey)
  const { header, size } = await readHeader(flags.archive)
  const verifiers = flags.publicKey === undefined ? 'unchecked' : await verifiersFor(flags.archive, flags.publicKey, undefined)
  return withArchiveFile(flags.archive, { verifiers }, (archive) => {
    const data = {
      version: 1,
      key_id: header.keyId,
      archive_bytes: size,
      manifest_offset: header.manifestOffset,
      manifest_size: header.manifestSize,
      manifest_hash: hexEncode(header.manifestHash),
      signature: hexEncode(header.signature),
      signature_checked: archive.signatureChecked,
      key_commitment: hexEncode(archive.keyCommitment),
      segment_size: archive.segmentSize,
      slots: archive.slotNumbers,
      files: archive.entries.length,
      original_bytes: archive.entries.reduce((sum, entry) => sum + entry.size, 0),
      stored_bytes: archive.entries.reduce((sum, entry) => sum + entry.storedSize, 0),
      padding_bytes: archive.gaps.reduce((sum, gap) => sum + gap.length, 0),
    }
    return { data, text: formatTable(Object.entries(data).map(([name, value]) => [name.replaceAll('_', ' '), String(value)])) }
  })
}
