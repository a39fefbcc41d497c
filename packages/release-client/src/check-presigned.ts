const MIB = 1024 * 1024
const MIN_PART_BYTES = 5 * MIB
const MAX_PART_BYTES = 64 * MIB

/** What the server answers to a request for addresses in its storage. */
export interface Presigned {
  readonly upload_id: string
  readonly part_bytes: number
  readonly urls: readonly string[]
}

/** Addresses of the machine itself and of its own network link, where clouds keep their credentials. */
function isNear(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    /^(127|169\.254|0)\./.test(`${host}.`) ||
    /^\[(::1?|fe[89ab].*|::ffff:.*)\]$/.test(host)
  )
}

/**
 * Whether addresses for a direct upload may be used: a server must not be able to make a publisher, who may be inside a
 * private network, send files wherever it likes. They are on one host, encrypted and not on this machine or its link
 * unless the server itself is, and there is one for each part of a blob of this size.
 */
export function mayUse({ upload_id: id, part_bytes: partBytes, urls }: Presigned, size: number, server: URL): boolean {
  if (
    typeof id !== 'string' ||
    !Number.isSafeInteger(partBytes) ||
    partBytes < MIN_PART_BYTES ||
    partBytes > MAX_PART_BYTES
  )
    return false
  if (!Array.isArray(urls) || urls.length !== Math.ceil(size / partBytes)) return false
  const parsed = urls.map((url) => (typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined))
  return parsed.every(
    (url) => url !== undefined && url.origin === parsed[0]?.origin && url.username === '' && fits(url, server),
  )
}

function fits(url: URL, server: URL): boolean {
  if (url.protocol !== 'https:' && (url.protocol !== 'http:' || server.protocol !== 'http:')) return false
  return !isNear(url.hostname) || isNear(server.hostname)
}

/** Whether the answer of a storage can be the tag of a part. */
export function isTag(text: string): boolean {
  return /^"?[0-9A-Za-z-]{1,120}"?$/.test(text)
}
