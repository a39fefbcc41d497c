const mib = 1024 * 1024
const leastPart = 5 * mib
const largestPart = 64 * mib

/** What the server answers when it is asked for addresses of its storage. */
export interface Presigned {
  readonly upload_id: string
  readonly part_bytes: number
  readonly urls: readonly string[]
}

/** Addresses of the machine itself and of its own wire, where clouds keep their credentials. */
function isNear(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    /^(127|169\.254|0)\./.test(`${host}.`) ||
    /^\[(::1?|fe[89ab].*|::ffff:.*)\]$/.test(host)
  )
}

/**
 * Whether addresses for a direct upload may be used: a server must not be able to have a publisher, who may stand inside
 * a network of his own, send files where it likes. They are of one host, encrypted and not of this machine or wire
 * unless the server itself is, and as many as the parts of a blob of this size.
 */
export function mayUse({ upload_id: id, part_bytes: partBytes, urls }: Presigned, size: number, server: URL): boolean {
  if (typeof id !== 'string' || !Number.isSafeInteger(partBytes) || partBytes < leastPart || partBytes > largestPart)
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

/** Whether a storage answered with something that can be the tag of a part. */
export function isTag(text: string): boolean {
  return /^"?[0-9A-Za-z-]{1,120}"?$/.test(text)
}
