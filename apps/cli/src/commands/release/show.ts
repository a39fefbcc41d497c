import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { openHome } from '@keyturn/publisher'
import { findRelease } from '@keyturn/publisher/records'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { summary } from './summary.ts'

/** Registers `keyturn release show`. */
export function registerShow(release: Command, cli: Cli): void {
  const show = release
    .command('show')
    .description('show one release: its files, hashes and content keys')
    .argument('[version]', 'which (default: the newest)')
    .option('--channel <name>', 'the channel (default: that of the home)')
  cli.define<ChannelOption>(show, {
    example: 'keyturn release show 2026.11.21-1',
    run: (context, options, [version]) => runShow(context, options, version),
  })
}

async function runShow(context: Context, options: ChannelOption, version: string | undefined): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const release = await findRelease(home.paths, channel, version)
  const { manifest } = release
  const keys = manifest.contentKeys.map(({ keyId, status }) => `${keyId} (${status})`).join(', ')
  return {
    data: {
      channel,
      ...summary(release),
      notes: manifest.notes,
      previous: manifest.previous,
      rollback_of: manifest.rollbackOf,
      content_keys: manifest.contentKeys.map(({ keyId, status, verifierPub, commitment }) => ({
        key_id: keyId,
        status,
        verifier_pub: verifierPub,
        commitment,
      })),
    },
    text: formatTable([
      [
        'release',
        `${manifest.version} on ${channel}, sequence ${manifest.sequence ?? 0}, epoch ${manifest.epoch ?? 0}`,
      ],
      ['format', manifest.format],
      ['files', `${manifest.files.length}, ${formatBytes(manifest.totals?.bytes ?? 0)}`],
      ['content keys', keys === '' ? 'none' : keys],
      ['valid', `${manifest.issuedAt ?? manifest.createdAt} to ${manifest.expiresAt ?? 'forever'}`],
      ['manifest', `${release.bytes.length} bytes, SHA-256 ${release.sha256}`],
      ['signed', release.signatures === undefined ? 'no' : 'yes'],
      ['tree', release.tree],
    ]),
  }
}
