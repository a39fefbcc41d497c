import { join } from 'node:path'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { openOwnArchive } from '../tree/archives.ts'
import { readReleases } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { counted } from '../words.ts'
import { collectStatus } from './collect-status.ts'

/** How far archives are looked at. */
interface ArchiveOptions {
  /** Read every byte. */
  readonly deep: boolean
  readonly client: ReleaseServerClient | undefined
  readonly signal: AbortSignal
}

type Report = (check: string, level: 'ok' | 'warning' | 'error', message: string, fix?: string) => void

/** The release that the head of each channel offers. */
export async function offeredReleases(home: HomeSession): Promise<StoredRelease[]> {
  const { channels } = await collectStatus(home, 0)
  const offered: StoredRelease[] = []
  for (const { channel, offered: version } of channels) {
    offered.push(...(await readReleases(home.paths, channel)).filter(({ manifest }) => manifest.version === version))
  }
  return offered
}

/** What those outside a rollout, and everybody during a halt, are offered. */
async function fallbackReleases(home: HomeSession): Promise<StoredRelease[]> {
  const { channels } = await collectStatus(home, 0)
  const found: StoredRelease[] = []
  for (const { channel, others } of channels)
    found.push(...(await readReleases(home.paths, channel)).filter(({ manifest }) => manifest.version === others))
  return found
}

/** Whether a server has all files of a release: then a rotation fetches them. */
async function isOnServer(
  home: HomeSession,
  { manifest, sha256 }: StoredRelease,
  client: ReleaseServerClient | undefined,
): Promise<boolean> {
  const known = await client?.getRelease(home.description.product, manifest.channel ?? '', manifest.version)
  return known?.state === 'published' && known.sha256 === sha256
}

/** Opens the archives of what is offered, to everybody or to those outside a rollout. */
export async function checkArchives(home: HomeSession, options: ArchiveOptions, report: Report): Promise<void> {
  const { deep, signal, client } = options
  for (const release of [...(await offeredReleases(home)), ...(await fallbackReleases(home))]) {
    const { manifest, tree } = release
    const archives = manifest.files.filter(({ keyId }) => keyId !== undefined)
    if (!(await pathExists(tree))) {
      if (await isOnServer(home, release, client)) {
        report('archives', 'ok', `The files of ${manifest.version} are on the server, not in this home`)
        continue
      }
      report(
        'archives',
        'warning',
        `The tree of ${manifest.version} is gone from "${tree}": its next content rotation would need it`,
        'keyturn pack tree',
      )
      continue
    }
    if (archives.length === 0) {
      report('archives', 'ok', `${manifest.version} on ${manifest.channel ?? ''} has no archives, only loose files`)
      continue
    }
    let failures = 0
    for (const { path } of archives) {
      const { archive, close } = await openOwnArchive(home, join(tree, path))
      try {
        if (deep) failures += (await archive.verify({ signal })).failures.length
      } finally {
        await close()
      }
    }
    if (failures > 0)
      report('archives', 'error', `${failures} files of ${manifest.version} do not verify`, 'keyturn pack tree')
    else
      report(
        'archives',
        'ok',
        `${counted(archives.length, 'archive')} of ${manifest.version}, opened with the content ` +
          `key${deep ? ', every file is whole' : ''}`,
      )
  }
}
