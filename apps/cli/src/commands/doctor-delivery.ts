import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeFetch, NoiseRuntimeKeys } from '@keyturn/install-engine'
import { KeyturnError } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { HomeSession } from '@keyturn/publisher'
import type { Finding } from '@keyturn/publisher/health'
import {
  readPublishedChannels,
  readPublishedHead,
  readReleases,
  rolesInForce,
  runtimeKeyFile,
} from '@keyturn/publisher/records'
import type { StoredRelease } from '@keyturn/publisher/records'
import type { Context } from '../command.ts'

/** Releases on offer whose players get their key from the server alone. */
async function withoutKeyFile({ paths }: HomeSession): Promise<StoredRelease[]> {
  const found: StoredRelease[] = []
  for (const channel of await readPublishedChannels(paths)) {
    const pin = (await readPublishedHead(paths, channel))?.head.manifest
    const release = (await readReleases(paths, channel)).find(({ sha256 }) => sha256 === pin?.sha256)
    const files = release?.manifest.files ?? []
    const needsKey = files.some(({ keyId }) => keyId !== undefined)
    if (release !== undefined && needsKey && files.every(({ path }) => path !== runtimeKeyFile)) found.push(release)
  }
  return found
}

/**
 * Asks the server for the runtime key of what is on offer, exactly as a launcher does: over Noise, under the transport
 * keys that the role document in force names. The key is thrown away.
 *
 * @param context - The command.
 * @param home - Open home.
 * @param server - Address that launchers use.
 */
export async function checkDelivery(
  { clock, signal }: Pick<Context, 'clock' | 'signal'>,
  home: HomeSession,
  server: string,
): Promise<Finding[]> {
  const releases = await withoutKeyFile(home)
  if (releases.length === 0) return []
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-doctor-'))
  try {
    const launcher = new NoiseRuntimeKeys({
      fs: nodeFileSystem,
      fetch: nodeFetch,
      clock,
      server,
      transport: document.transport,
      floorsFile: join(folder, 'floors.json'),
    })
    const findings: Finding[] = []
    for (const release of releases) findings.push(await askAsLauncher(launcher, release, { server, signal }))
    return findings
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function askAsLauncher(
  launcher: NoiseRuntimeKeys,
  { manifest, sha256 }: StoredRelease,
  { server, signal }: { readonly server: string; readonly signal: AbortSignal },
): Promise<Finding> {
  const { version, channel = '' } = manifest
  const found = { check: 'delivery', level: 'ok', mend: '' } as const
  try {
    const key = await launcher.obtain(manifest, sha256, signal)
    key.dispose()
    return { ...found, message: `A launcher gets the runtime key of ${version} on ${channel} from the server` }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof KeyturnError) || error.kind === 'bug') throw error
    // The server knows the key, and gives it to listed machines alone.
    if (error.code === 'RK_REFUSED')
      return { ...found, message: `The server gives the runtime key of ${version} to listed machines only` }
    const lacksKey = error.code === 'RK_KEY_ID_UNKNOWN'
    return {
      ...found,
      level: 'error',
      message: `A launcher gets no runtime key of ${version} on ${channel}: ${error.message} (${error.code})`,
      mend: lacksKey
        ? `keyturn release publish --channel ${channel}`
        : `keyturn noise publish --to ${server} --hand-over`,
    }
  }
}
