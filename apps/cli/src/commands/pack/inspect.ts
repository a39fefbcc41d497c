import { inspectRaw, readArchiveHeader } from '@keyturn/m2pack-format'
import type { Archive } from '@keyturn/m2pack-format'
import { openFileSource, readPublicKeyFile, withArchiveFile } from '@keyturn/m2pack-format/node'
import { hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { findVerifier } from './archive-keys.ts'
import type { ArchiveKeyFlags } from './archive-keys.ts'
import { requireFiles } from '../../paths.ts'

interface InspectFlags extends ArchiveKeyFlags {
  readonly raw?: boolean | undefined
}

/** Registers `inspect`. */
export function registerInspect(parent: Command, cli: Cli): void {
  const command = parent
    .command('inspect')
    .description('show header and manifest head of an archive; no key is needed')
    .requiredOption('--archive <file>', 'archive to look at')
    .option(
      '--public-key <file>',
      'check the signature too (default: with the public key of the home, when it made the archive)',
    )
    .option('--raw', 'for files of the original packer: try every layout, say what hashes and verifies')
  cli.define<InspectFlags>(command, {
    example: 'keyturn pack inspect --archive pack/data.m2p',
    run: (context, flags) => (flags.raw === true ? runRaw(flags) : runInspect(context, flags)),
  })
}

async function readHeader(path: string) {
  const source = await openFileSource(path)
  try {
    return { header: await readArchiveHeader(source), size: source.size }
  } finally {
    await source.close()
  }
}

async function runInspect(context: Context, flags: InspectFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey)
  const { header, size } = await readHeader(flags.archive)
  const verifiers = (await findVerifier(context, flags))?.verifiers ?? 'unchecked'
  return withArchiveFile(flags.archive, { verifiers }, (archive) => {
    const data = {
      version: header.version,
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
      table: archive.sealed ? 'sealed' : 'open',
      ...contents(archive),
    }
    return {
      data,
      text: formatTable(Object.entries(data).map(([name, value]) => [name.replaceAll('_', ' '), String(value)])),
    }
  })
}

/** What the entry table says; nothing when it is sealed, since this command has no content key. */
function contents(archive: Archive): Record<string, number> {
  if (!archive.listable) return {}
  const { entries, gaps } = archive
  return {
    files: entries.length,
    original_bytes: entries.reduce((sum, entry) => sum + entry.size, 0),
    stored_bytes: entries.reduce((sum, entry) => sum + entry.storedSize, 0),
    padding_bytes: gaps.reduce((sum, gap) => sum + gap.length, 0),
  }
}

async function runRaw(flags: InspectFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey)
  const publicKey = flags.publicKey === undefined ? undefined : await readPublicKeyFile(flags.publicKey)
  const source = await openFileSource(flags.archive)
  try {
    const { size, head, manifestHead, layouts, settled } = await inspectRaw(source, publicKey)
    const rows = layouts.map(
      ({ width, offsetAt, sizeAt, manifestOffset, manifestSize, hash, hashAt, signed, signatureAt }) => [
        `u${width * 8} offset at ${offsetAt}, size at ${sizeAt}`,
        `manifest ${manifestOffset} + ${manifestSize}`,
        `${hash} at ${hashAt}`,
        signed === undefined ? 'no signature' : `signature of the ${signed} at ${signatureAt}`,
      ],
    )
    return {
      data: {
        archive_bytes: size,
        head: hexEncode(head),
        manifest_head: manifestHead === undefined ? null : hexEncode(manifestHead),
        layouts: layouts.map((layout) => ({
          width: layout.width,
          offset_at: layout.offsetAt,
          size_at: layout.sizeAt,
          manifest_offset: layout.manifestOffset,
          manifest_size: layout.manifestSize,
          hash: layout.hash,
          hash_at: layout.hashAt,
          signed: layout.signed ?? null,
          signature_at: layout.signatureAt ?? null,
        })),
        settled,
      },
      text: [
        `head      ${hexEncode(head)}`,
        ...(manifestHead === undefined ? [] : [`manifest  ${hexEncode(manifestHead)}`]),
        ...(rows.length === 0 ? ['No range that the header could name hashes to anything in it'] : [formatTable(rows)]),
        settled
          ? 'The layout is settled'
          : 'The layout is not settled: give the --public-key of the one who made the file',
      ].join('\n'),
    }
  } finally {
    await source.close()
  }
}
