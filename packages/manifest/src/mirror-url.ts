import { printable } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'

const MIRROR = /^(https?):\/\/([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}))?(\/(?:[A-Za-z0-9._~-]+\/)*)$/

/**
 * Holds a mirror's address to a plain folder on a plain host: http or https, no user, query, fragment, `..`,
 * escapes or IPv6 literal, no port of another service.
 *
 * @throws {@link ManifestError} `MAN_URL`.
 */
export function checkMirrorUrl(url: string): void {
  const match = MIRROR.exec(url)
  const port = match?.[3] === undefined ? undefined : Number(match[3])
  const plainPort = port === undefined || port === 80 || port === 443 || (port >= 1024 && port <= 65535)
  const plainPath = match !== null && !match[4]?.split('/').some((part) => part === '.' || part === '..')
  if (plainPort && plainPath) return
  throw new ManifestError(
    'MAN_URL',
    `Cannot use mirror "${printable(url, 120)}": it is not a plain http or https folder`,
  )
}
