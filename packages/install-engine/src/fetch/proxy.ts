import { LauncherError } from '../errors.ts'

/** Variables of the environment, or a stand-in of them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The proxies that requests take. */
export interface Proxies {
  readonly http: string | undefined
  readonly https: string | undefined
  readonly except: string | undefined
}

function setting(env: Environment, name: string): string | undefined {
  const value = env[name.toLowerCase()] ?? env[name]
  return value === undefined || value.trim() === '' ? undefined : value.trim()
}

/** `host:port` means a plain HTTP proxy, as other programs read it. */
function withScheme(value: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`
}

/** The proxy settings of an environment: `HTTP_PROXY`, `HTTPS_PROXY`, for both `ALL_PROXY`, and `NO_PROXY`. */
export function proxiesOf(env: Environment): Proxies {
  const all = setting(env, 'ALL_PROXY')
  const one = (name: string): string | undefined => {
    const value = setting(env, name) ?? all
    return value === undefined ? undefined : withScheme(value)
  }
  return { http: one('HTTP_PROXY'), https: one('HTTPS_PROXY'), except: setting(env, 'NO_PROXY') }
}

/** Whether `NO_PROXY` names a host: itself, a domain it is in, with its port, or `*` for all. */
function isExcepted(except: string | undefined, { hostname, port, protocol }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const realPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return (except ?? '')
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true
      const [, name = '', wantedPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
      if (wantedPort !== undefined && wantedPort !== realPort) return false
      const suffix = name.replace(/^\*?\.?/, '')
      return suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`))
    })
}

/**
 * The proxy for an address, as Node can use it; `undefined`: none.
 *
 * @throws LauncherError `LA_PROXY` when the settings name one that cannot be used: going around it silently would
 *   break what the person who set it wanted.
 */
export function proxyFor(url: URL, proxies: Proxies): URL | undefined {
  const value = url.protocol === 'https:' ? proxies.https : proxies.http
  if (value === undefined || isExcepted(proxies.except, url)) return undefined
  const proxy = URL.canParse(value) ? new URL(value) : undefined
  if (proxy !== undefined && ['http:', 'https:'].includes(proxy.protocol) && proxy.hostname !== '') return proxy
  const scheme = proxy?.protocol.replace(/:$/, '') ?? ''
  throw new LauncherError(
    'LA_PROXY',
    'Cannot use the proxy of the environment: expected http or https, got ' +
      `${scheme === '' || proxy?.hostname === '' ? 'no address' : scheme}`,
    {
      details: { proxy: proxy?.host ?? '' },
      hint: 'Set HTTP_PROXY and HTTPS_PROXY to an http:// proxy, or name the release server in NO_PROXY',
    },
  )
}

/** An address as it may be shown: without user, password and query. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return url.replace(/\/\/[^/@\s]*@/, '//')
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  return shown.href
}
