import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatBytes, formatTable } from '../../output.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import { findRelease, openClient, readReleases, readStoredHead } from '@keyturn/publisher/release'
import type { ServerOptions, StoredRelease } from '@keyturn/publisher/release'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface ListOptions extends ChannelOption, ServerOptions {
  readonly remote?: boolean
}

/** Registers `keyturn release list`. */
export function registerList(release: Command, cli: Cli): void {
  const list = withServer(
    release
      .command('list')
      .description('the releases of a channel, oldest first, and what its head offers')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--remote', 'ask the server instead of the home'),
  )
  cli.define<ListOptions>(list, {
    example: 'keyturn release list --json',
    run: (context, options) => (options.remote === true ? listRemote(context, options) : listHome(context, options)),
  })
}

async function listHome(context: Context, options: ListOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const offered = (await readStoredHead(home.paths, channel))?.head.manifest.version
  const releases = await readReleases(home.paths, channel)
  return {
    data: { channel, offered, releases: releases.map(summary) },
    text:
      releases.length === 0
        ? `No release on ${channel} yet`
        : formatTable(
            releases.map(({ manifest, signatures }) => [
              manifest.version,
              `#${manifest.sequence ?? 0}`,
              counted(manifest.files.length, 'file'),
              formatBytes(manifest.totals?.bytes ?? 0),
              signatures === undefined ? 'not signed' : manifest.version === offered ? 'offered' : 'signed',
            ]),
          ),
  }
}

async function listRemote(context: Context, options: ListOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const { description } = home
  const channel = channelOf(options, description)
  const client = await openClient(options, home)
  const { items } = await client.listReleases(description.product, { channel })
  const offered = (await client.getChannel(description.product, channel))?.manifest?.version
  const releases = items.toSorted((a, b) => a.sequence - b.sequence)
  return {
    data: { channel, offered, releases: releases as unknown as JsonValue },
    text: formatTable(
      releases.map(({ version, sequence, files, bytes, state }) => [
        version,
        `#${sequence}`,
        counted(files, 'file'),
        formatBytes(bytes),
        version === offered ? 'offered' : state,
      ]),
    ),
  }
}

/** What a program wants to know of a release. */
export function summary({ manifest, sha256, bytes, signatures, tree }: StoredRelease): { [key: string]: JsonValue } {
  const { version, sequence, format, createdAt, expiresAt, rolesVersion, totals } = manifest
  return {
    version,
    sequence: sequence ?? 0,
    format,
    created_at: createdAt,
    expires_at: expiresAt ?? '',
    roles_version: rolesVersion ?? 0,
    manifest_sha256: sha256,
    manifest_bytes: bytes.length,
    files: manifest.files.length,
    bytes: totals?.bytes ?? 0,
    signed: signatures !== undefined,
    tree,
  }
}

/** Registers `keyturn release show`. */
export function registerShow(release: Command, cli: Cli): void {
  const show = release
    .command('show')
    .description('one release: its place, its sums, its content keys')
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
      ['valid', `${manifest.issuedAt ?? manifest.createdAt} to ${manifest.expiresAt ?? 'for ever'}`],
      ['manifest', `${release.bytes.length} bytes, SHA-256 ${release.sha256}`],
      ['signed', release.signatures === undefined ? 'no' : 'yes'],
      ['tree', release.tree],
    ]),
  }
}
