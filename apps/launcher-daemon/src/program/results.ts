import { formatBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { EngineStatus, UpdateResult, PreloadResult } from '@keyturn/install-engine'

/** A result as JSON data. */
export function updateData(result: UpdateResult): { [name: string]: JsonValue } {
  return {
    outcome: result.outcome,
    version: result.version ?? null,
    previous: result.previousVersion ?? null,
    trust: result.trust,
    written_files: result.writtenFiles,
    removed_files: result.removedFiles,
    kept_files: [...result.keptFiles],
    set_aside: result.setAside.map(({ path, to }) => ({ path, to })),
    downloaded_bytes: result.downloadedBytes,
    release_bytes: result.releaseBytes,
  }
}

function filesWritten({ writtenFiles }: UpdateResult): string {
  return `${writtenFiles} ${writtenFiles === 1 ? 'file' : 'files'} written`
}

/** A result in one sentence. */
export function updateText(result: UpdateResult): string {
  const { outcome, version = 'nothing', downloadedBytes } = result
  switch (outcome) {
    case 'updated':
      return (
        `Installed ${version}: ${filesWritten(result)}, ${result.removedFiles} removed, ` +
        `${formatBytes(downloadedBytes)} downloaded`
      )
    case 'up-to-date':
      return `${version} is installed and up to date`
    case 'repaired':
      return `Repaired ${version}: ${filesWritten(result)}, ${formatBytes(downloadedBytes)} downloaded`
    case 'stay':
      return `${version} stays: nothing else is offered to this install`
    case 'staged':
      return `${version} is downloaded: ${formatBytes(downloadedBytes)}; the next update or start puts it in place`
    case 'rolled-back':
      return `Went back to ${version}`
  }
}

/** What was fetched ahead as JSON data; nothing when nothing is scheduled. */
export function preloadData({ outcome, version, at, downloadedBytes }: PreloadResult): { [name: string]: JsonValue } {
  if (outcome === 'none') return {}
  return {
    scheduled: { version: version ?? null, at: at ?? null, state: outcome, downloaded_bytes: downloadedBytes },
  }
}

/** What was fetched ahead in one sentence, with the line break before it; empty when nothing is scheduled. */
export function preloadText({ outcome, version = '', at = '' }: PreloadResult): string {
  switch (outcome) {
    case 'none':
    case 'later':
      return ''
    case 'ready':
      return `\n${version} is downloaded ahead; it opens at ${at}`
    case 'no-space':
      return `\n${version} opens at ${at}; there is no room on the disk to download it ahead`
  }
}

/** A status as JSON data. */
export function statusData(status: EngineStatus): { [name: string]: JsonValue } {
  return {
    folder: status.folder,
    server: status.server,
    channel: status.channel,
    state: status.state,
    version: status.version ?? null,
    scheduled: status.next === undefined ? null : { ...status.next },
    sequence: status.sequence ?? null,
    trust: status.trust,
    reason: status.reason === undefined ? null : { code: status.reason.code, message: status.reason.message },
    refused: status.refused === undefined ? null : { ...status.refused },
    published: status.published === undefined ? null : { ...status.published },
    newest: status.offered ?? null,
    roles_version: status.rolesVersion ?? null,
    confirmed: status.confirmed,
    failed_starts: status.failedStarts,
    can_roll_back: status.canRollBack,
    paused: status.paused,
    limit: status.bytesPerSecond ?? null,
  }
}

/** Trust in words that need no glossary. */
export const trustWords: Readonly<Record<EngineStatus['trust'], string>> = {
  pinned: 'nothing was verified yet',
  current: 'verified: this release comes from its publisher and is the newest known',
  stale: 'verified, but the server could not confirm lately that it is the newest',
  barred: 'must not be played: the keys that vouched for it were withdrawn',
  forked: 'verified; the publisher contradicts itself, so nothing new is installed for now',
}

/** A status in a few lines. */
export function statusText(status: EngineStatus): string {
  const isOlder =
    status.trust === 'current' &&
    status.offered !== undefined &&
    status.offered !== status.version &&
    status.version !== undefined
  const lines = [
    `Folder   ${status.folder}`,
    `Server   ${status.server} (${status.channel})`,
    'Release  ' +
      `${status.version ?? 'none'}${status.confirmed ? '' : status.version === undefined ? '' : ', no start has lasted half a minute yet'}`,
    `Trust    ${status.trust}: ` +
      `${isOlder ? `verified: this release comes from its publisher; the newest known one is ${status.offered ?? ''}` : trustWords[status.trust]}`,
  ]
  if (status.reason !== undefined) lines.push(`         ${status.reason.message} (${status.reason.code})`)
  const { refused } = status
  if (refused !== undefined && refused.code !== status.reason?.code)
    lines.push(`Refused  ${refused.at}: ${refused.message} (${refused.code})`)
  if (status.paused) lines.push('Paused   downloads wait until they are resumed')
  return lines.join('\n')
}
