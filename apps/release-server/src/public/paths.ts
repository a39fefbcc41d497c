/** What an address of the public tree names. */
export type PublicTarget =
  | { readonly kind: 'blob'; readonly sha256: string }
  | { readonly kind: 'no-blob' }
  | {
      readonly kind: 'document'
      /** `undefined`: the default product. */
      readonly product: string | undefined
      /** `undefined`: not in a channel; empty: the default channel. */
      readonly channel: string | undefined
      /** Name within channel or product: `head.json`, `manifests/1.2.sigs.json`, `roles/2.json`. */
      readonly name: string
    }

const SLUG = '[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?'
const VERSION = '[A-Za-z0-9][A-Za-z0-9._+-]{0,127}'
const SLUG_FORM = new RegExp(`^${SLUG}$`)
const PRODUCT_FORM = new RegExp(`^/p/(${SLUG})(/.*)$`)
const CHANNEL_FORM = new RegExp(`^channels/(${SLUG})/(.+)$`)
const MANIFEST_FORM = new RegExp(`^(?:manifest|manifests/${VERSION})\\.(?:json|json\\.sig|sigs\\.json|tlog-proof)$`)
const VERSION_FORM = new RegExp(`^${VERSION}$`)
const BLOB_FORM = /^\/files\/([0-9a-f]{2})\/(\1[0-9a-f]{62})$/
const PRODUCT_DOCUMENT_FORM = /^(?:kel\/[A-Za-z0-9_-]{44}\.cesr|roles\/[1-9][0-9]{0,8}\.json|kills\.json)$/
const LOG_FORM =
  /^log\/(?:checkpoint|key|tile\/(?:[0-6]|entries)\/(?:x[0-9]{3}\/){0,5}[0-9]{3}(?:\.p\/[1-9][0-9]{0,2})?)$/

/** Whether `text` names a product or channel. */
export function isSlug(text: string): boolean {
  return SLUG_FORM.test(text)
}

/** Whether `text` may be the version of a release: it becomes part of addresses and, exported, of file names. */
export function isVersion(text: string): boolean {
  return VERSION_FORM.test(text)
}

/**
 * Reads an address of the public tree; `undefined` for any other address. Nothing is decoded: no name in the tree needs
 * an escape, so a percent sign names nothing, and no part of an address ever reaches the file system.
 *
 * @param path - Path of the request without its query.
 */
export function parsePublicPath(path: string): PublicTarget | undefined {
  if (path.length > 512) return undefined
  const prefixed = path.startsWith('/p/') ? PRODUCT_FORM.exec(path) : null
  const product = prefixed?.[1]
  const rest = prefixed?.[2] ?? path
  if (rest.startsWith('/files/') || rest.startsWith('/blobs/')) {
    const sha256 = BLOB_FORM.exec(rest)?.[2]
    return sha256 === undefined ? { kind: 'no-blob' } : { kind: 'blob', sha256 }
  }
  const name = rest.slice(1)
  if (PRODUCT_DOCUMENT_FORM.test(name) || LOG_FORM.test(name))
    return { kind: 'document', product, channel: undefined, name }
  const [, channel = '', inner = name] = CHANNEL_FORM.exec(name) ?? []
  const known = canonicalChannelName(inner)
  return known === undefined ? undefined : { kind: 'document', product, channel, name: known }
}

/** Signatures of a manifest answer under `<version>.sigs.json` and, read literally, `<version>.json.sigs.json`. */
function canonicalChannelName(name: string): string | undefined {
  const short = name.replace(/\.json\.sigs\.json$/, '.sigs.json')
  return short === 'head.json' || MANIFEST_FORM.test(short) ? short : undefined
}
