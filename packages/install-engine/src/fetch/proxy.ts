import { BlockList, isIP } from 'node:net'
import { LauncherError } from '../errors.ts'

/** Variables of the environment, or a stand-in of them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The proxies that requests take. */
export interface Proxies {
  readonly http: string | undefined
  readonly https: string | undefined
  /** Hosts that are asked directly: `NO_PROXY`, or what the system excepts. */
  readonly except: string | undefined
  /** Address of a script (PAC) that the system decides by; it is not run. */
  readonly pac?: string | undefined
  /** Settings of the system, not of the environment. */
  readonly isOfSystem?: boolean | undefined
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

/** Whether text matches a pattern in which `*` stands for any characters. */
function matchesPattern(text: string, pattern: string): boolean {
  const [first = '', ...others] = pattern.split('*')
  if (others.length === 0) return text === pattern
  if (!text.startsWith(first)) return false
  const last = others.pop() ?? ''
  let at = first.length
  for (const part of others) {
    const found = text.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}

/** Whether an address is in a network like `10.0.0.0/8`, `169.254/16` or `fd00::/8`. */
function isInNetwork(host: string, network: string): boolean {
  const [base = '', length = ''] = network.split('/')
  const family = isIP(host)
  if (family === 0 || !/^\d{1,3}$/.test(length)) return false
  const whole = base.includes(':') ? base : [...base.split('.'), '0', '0', '0'].slice(0, 4).join('.')
  if (isIP(whole) !== family || Number(length) > (family === 4 ? 32 : 128)) return false
  const list = new BlockList()
  const type = family === 4 ? 'ipv4' : 'ipv6'
  list.addSubnet(whole, Number(length), type)
  return list.check(host, type)
}

/**
 * Whether a list of exceptions names a host: itself, a domain it is in, with its port, a network, a pattern with `*`,
 * `*` for all, or, as Windows has it, `<local>` for names without a dot.
 */
function isExcepted(except: string | undefined, { hostname, port, protocol }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const realPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return (except ?? '')
    .toLowerCase()
    .split(/[\s,;]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true
      if (entry === '<local>') return !host.includes('.') && !host.includes(':')
      if (entry.includes('/')) return isInNetwork(host, entry)
      // `*.example` and `.example` are the domain too; other patterns are taken as they are.
      const domain = entry.replace(/^\*?\.(?=[^*]*$)/, '')
      if (domain.includes('*')) return matchesPattern(host, domain) || matchesPattern(`${host}:${realPort}`, domain)
      if (isIP(domain) !== 0) return domain === host
      const [, name = '', wantedPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(domain) ?? []
      if (wantedPort !== undefined && wantedPort !== realPort) return false
      return name !== '' && (host === name || host.endsWith(`.${name}`))
    })
}

/** Whether an address is this machine: systems ask it directly, whatever their settings. */
function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)
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
  if (proxies.isOfSystem === true && isLoopback(url)) return undefined
  const proxy = URL.canParse(value) ? new URL(value) : undefined
  if (proxy !== undefined && ['http:', 'https:'].includes(proxy.protocol) && proxy.hostname !== '') return proxy
  const scheme = proxy?.protocol.replace(/:$/, '') ?? ''
  throw new LauncherError(
    'LA_PROXY',
    `Cannot use the proxy of the ${proxies.isOfSystem === true ? 'system settings' : 'environment'}: ` +
      `expected http or https, got ${scheme === '' || proxy?.hostname === '' ? 'no address' : scheme}`,
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
