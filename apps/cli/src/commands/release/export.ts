import { copyFile, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { formatBytes } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { headToPublish } from '@keyturn/publisher/offers'
import {
  findRelease,
  readIdentityLog,
  readIfThere,
  readRoles,
  noteHeadPublished,
  releaseFiles,
} from '@keyturn/publisher/records'
import type { StoredRelease } from '@keyturn/publisher/records'
import { refuseWhileRotating } from '@keyturn/publisher/pending'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

/** Registers `keyturn release export-static`. */
export function registerExportStatic(release: Command, cli: Cli): void {
  const exportStatic = release
    .command('export-static')
    .description('write the public tree as plain files for any static host; what is there already is kept')
    .argument('<dir>', 'where to')
    .option('--channel <name>', 'the channel (default: that of the home)')
  cli.define<ChannelOption>(exportStatic, {
    example: 'keyturn release export-static ./public',
    run: (context, options, [dir]) => runExport(context, options, dir as string),
  })
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFileAtomic(path, bytes)
}

/** Blobs are named by their hash: one that is there is the right one. */
async function exportBlobs(
  release: StoredRelease,
  dir: string,
  signal: AbortSignal,
): Promise<{ files: number; bytes: number }> {
  let [files, bytes] = [0, 0]
  const indexes = release.manifest.files.flatMap(({ index }) =>
    index === undefined ? [] : [{ ...index, source: join(release.folder, releaseFiles.index, index.sha256) }],
  )
  const { files: listed, launcher } = release.manifest
  const blobs = [...listed, ...(launcher === undefined ? [] : [launcher])].map(({ path, sha256, size }) => ({
    sha256,
    size,
    source: join(release.tree, path),
  }))
  for (const { sha256, size, source } of [...blobs, ...indexes]) {
    signal.throwIfAborted()
    const target = join(dir, 'files', sha256.slice(0, 2), sha256)
    if (await pathExists(target)) continue
    await mkdir(dirname(target), { recursive: true })
    await copyFile(source, target)
    files += 1
    bytes += size
  }
  return { files, bytes }
}

async function exportRelease(release: StoredRelease, folder: string): Promise<void> {
  const { version } = release.manifest
  const stem = join(folder, 'manifests', version)
  if (release.signatures === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Release ${version} is not signed yet`, {
      hint: 'Run "keyturn release sign"',
    })
  await put(`${stem}.json`, release.bytes)
  await put(`${stem}.sigs.json`, release.signatures)
  const legacy = await readIfThere(join(release.folder, releaseFiles.legacySignature))
  if (legacy !== undefined) await put(`${stem}.json.sig`, legacy)
}

async function exportTrust(home: HomeSession, dir: string): Promise<void> {
  const { prefix } = home.description.identity
  for (const { document, bytes } of await readRoles(home.paths, prefix))
    await put(join(dir, 'roles', `${document.version}.json`), bytes)
  await put(join(dir, 'kel', `${prefix}.cesr`), (await readIdentityLog(home.paths, prefix)).bytes)
}

async function runExport(context: Context, options: ChannelOption, dir: string): Promise<CommandResult> {
  const home = await openHome(context, { write: true })
  await refuseWhileRotating(home.paths)
  const channel = channelOf(options, home.description)
  const head = await headToPublish(home, channel)
  const pins = [head.head.manifest, ...(head.head.fallback === undefined ? [] : [head.head.fallback])]
  const releases = await Promise.all(pins.map(({ version }) => findRelease(home.paths, channel, version)))
  let [files, bytes] = [0, 0]
  for (const release of releases) {
    const copied = await exportBlobs(release, dir, context.signal)
    files += copied.files
    bytes += copied.bytes
  }
  // The order of docs/spec/manifest.md §3: what the head names is there before the head.
  await exportTrust(home, dir)
  const current = releases[0] as StoredRelease
  const places =
    channel === home.description.channel ? [dir, join(dir, 'channels', channel)] : [join(dir, 'channels', channel)]
  for (const place of places) {
    for (const release of releases) await exportRelease(release, place)
    await put(join(place, 'manifest.sigs.json'), current.signatures as Uint8Array)
    const legacy = await readIfThere(join(current.folder, releaseFiles.legacySignature))
    if (legacy !== undefined) await put(join(place, 'manifest.json.sig'), legacy)
    await put(join(place, 'manifest.json'), current.bytes)
    await put(join(place, 'head.json'), head.bytes)
  }
  // Launchers may read the folder from now on.
  await noteHeadPublished(home.paths, channel, head.bytes)
  return {
    data: { dir, channel, version: current.manifest.version, blobs: files, bytes },
    text: `${current.manifest.version} on ${channel} is in ${dir}: ${files} new blobs, ${formatBytes(bytes)}`,
  }
}
