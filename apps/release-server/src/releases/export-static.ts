import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { printable } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { parseManifest } from '@keyturn/manifest'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { channelAccess } from '../public/channel-access.ts'
import { documents } from '../public/documents.ts'
import { parsePublicPath } from '../public/paths.ts'
import { products } from './products.ts'
import { channels } from './channels.ts'
import { blobsOf, readManifestBytes, releases } from './releases.ts'

/** What an export wrote. */
export interface ExportReport {
  readonly documents: number
  readonly blobs: number
  readonly bytes: number
}

/** Addresses of a stored document: below its product, and in the root for the default product and channel. */
export function addressesOf(
  key: string,
  main: { slug: string; defaultChannel: string } | undefined,
  channelOfProduct: (slug: string) => string | undefined,
): string[] {
  const slash = key.indexOf('/')
  const [slug, name] = [key.slice(0, slash), key.slice(slash + 1)]
  const prefix = `channels/${channelOfProduct(slug) ?? ''}/`
  const names = name.startsWith(prefix) ? [name, name.slice(prefix.length)] : [name]
  return names.flatMap((each) => (slug === main?.slug ? [`p/${slug}/${each}`, each] : [`p/${slug}/${each}`]))
}

/**
 * Writes the whole public tree as plain files, for any static host: blobs first, heads last, each file atomically, so
 * that a host that already serves the folder never names a file that is missing. Blobs that exist are not written
 * again. An address that the public tree cannot have is refused before anything of it is written. Channels with an
 * access code are left out: a static host cannot ask for it.
 *
 * @throws ServerError `SRV_STORAGE` for a stored document under such an address.
 */
export async function exportStatic(context: ServerContext, folder: string): Promise<ExportReport> {
  const write = async (path: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> => {
    if (parsePublicPath(`/${path}`) === undefined)
      throw new ServerError(
        'SRV_STORAGE',
        `Cannot export "${printable(path, 200)}": it is not an address of the public tree`,
      )
    const target = join(folder, path)
    await mkdir(dirname(target), { recursive: true })
    await writeFileAtomic(target, content)
  }
  let [blobs, bytes] = [0, 0]
  for (const sha256 of await neededBlobs(context)) {
    const path = `files/${sha256.slice(0, 2)}/${sha256}`
    const info = await context.blobs.stat(sha256)
    if (info === undefined || (await pathExists(join(folder, path)))) continue
    await write(path, await context.blobs.read(sha256))
    blobs += 1
    bytes += info.size
  }
  const sorted = (await documents.all(context.metadata, { bodies: true })).toSorted(
    (one, other) => rankOf(one.key) - rankOf(other.key),
  )
  const channelOf = new Map(
    (await products.all(context.metadata)).map(({ key, value }) => [key, value.default_channel]),
  )
  const main = await context.directory.get(undefined)
  const hidden = (await channelAccess.all(context.metadata)).map(({ key }) => key.replace('/', '/channels/') + '/')
  const shown = sorted.filter(({ key }) => !hidden.some((prefix) => key.startsWith(prefix)))
  for (const { key, value, body } of shown) {
    for (const address of addressesOf(key, main, (slug) => channelOf.get(slug)))
      await write(address, body ?? (await context.blobs.read(value.sha256)))
  }
  return { documents: shown.length, blobs, bytes }
}

/** Heads last, manifests before them. */
function rankOf(key: string): number {
  return key.endsWith('/head.json') ? 2 : key.endsWith('/manifest.json') ? 1 : 0
}

async function neededBlobs(context: ServerContext): Promise<Set<string>> {
  const needed = new Set<string>()
  const scheduled = new Set((await channels.all(context.metadata)).map(({ value }) => value.preload?.sha256))
  for (const { value: release } of await releases.all(context.metadata)) {
    const isSealed = release.state === 'draft' && scheduled.has(release.sha256)
    if (release.state !== 'published' && !isSealed) continue
    for (const hash of blobsOf(parseManifest(await readManifestBytes(context, release)), isSealed)) needed.add(hash)
  }
  return needed
}
