import type { ServerContext } from '../context.ts'
import { documentKey } from './documents.ts'
import { parsePublicPath } from './paths.ts'

/**
 * Reads a document of the public tree as a reader would get it, without the network and without an access code: for
 * what runs in the process of the server.
 *
 * @param path - An address below a product: `/p/metin2/channels/stable/head.json`.
 * @returns `undefined` where the address names no document, or one that is not there.
 */
export async function readPublic(
  { documents }: Pick<ServerContext, 'documents'>,
  path: string,
): Promise<Uint8Array | undefined> {
  const target = parsePublicPath(path)
  if (target?.kind !== 'document' || target.product === undefined) return undefined
  return (await documents.get(documentKey(target.product, target.channel, target.name)))?.body
}
