import { chmod, mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ManifestFile } from '@keyturn/manifest'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { placeInside, removeInside } from '../inside.ts'
import type { HomeSession } from '../home-session.ts'
import { ServerFiles } from './server-files.ts'
import type { StoredRelease } from '../records/store.ts'

/**
 * The files of a release: where it was made, else fetched from the server into the home, each compared with the signed
 * manifest. A release that another machine made has its files there only.
 *
 * @param home - Open home, locked.
 * @param release - Verified before.
 * @param client - The server; undefined when none is asked: then the folder may be missing.
 * @param signal - Stops it.
 * @returns The folder.
 * @throws {@link PublisherError} `REL_SERVER_FILE`; those of the network.
 */
export async function treeAtHand(
  home: HomeSession,
  release: StoredRelease,
  client: ReleaseServerClient | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (client === undefined || (await pathExists(release.tree))) return release.tree
  const { channel = '', version, files } = release.manifest
  const place = placeInside(home.paths.trees, channel, version)
  if (await pathExists(place)) return place
  const server = new ServerFiles(client, home.description.product)
  await mkdir(dirname(place), { recursive: true })
  const draft = await mkdtemp(join(dirname(place), '.fetch-'))
  try {
    for (const file of files) await fetchFile(server, file, join(draft, file.path), signal)
    await removeInside(home.paths.trees, channel, version)
    await rename(draft, place)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
  return place
}

async function fetchFile(
  server: ServerFiles,
  { sha256, size, executable }: ManifestFile,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const handle = await open(path, 'wx')
  try {
    for await (const piece of server.pieces(sha256, size, signal)) await handle.writeFile(piece)
  } finally {
    await handle.close()
  }
  if (executable) await chmod(path, 0o755)
}
