import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { proxiesOf } from './proxy.ts'
import type { Environment, Proxies } from './proxy.ts'

/** What reading the proxy settings of a system works with. */
export interface SystemProxyHost {
  readonly platform: NodeJS.Platform
  readonly env: Environment
  /**
   * Runs a program of the system, without a shell and without a window.
   *
   * @returns What it prints; rejects where it cannot be run or fails.
   */
  run(file: string, args: readonly string[]): Promise<string>
}

const PATIENCE_MS = 5_000
const MAX_OUTPUT_BYTES = 64 * 1024
/** Settings change while a launcher runs: someone connects to a VPN. */
const KEPT_MS = 60_000

const INTERNET_SETTINGS = String.raw`HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings`

/** The system that this process runs on. */
export const systemProxyHost: SystemProxyHost = {
  platform: process.platform,
  env: process.env,
  run: (file, args) =>
    new Promise((resolve, reject) => {
      const options = { timeout: PATIENCE_MS, maxBuffer: MAX_OUTPUT_BYTES, windowsHide: true }
      execFile(file, args, options, (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
    }),
}

const NONE: Proxies = { http: undefined, https: undefined, except: undefined }

function withScheme(value: string | undefined, scheme = 'http'): string | undefined {
  if (value === undefined || value === '') return undefined
  return value.includes('://') ? value : `${scheme}://${value}`
}

/** Reads what `reg query` prints of the Internet settings of the user. */
export function parseWindowsProxies(text: string): Proxies {
  const values = new Map(
    [...text.matchAll(/^[ \t]+(\w+)[ \t]+REG_\w+[ \t]+(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
  const pac = values.get('AutoConfigURL')
  const settings: Proxies = pac === undefined || pac === '' ? NONE : { ...NONE, pac }
  const server = values.get('ProxyServer')
  if (Number(values.get('ProxyEnable') ?? 0) === 0 || server === undefined || server === '') return settings
  // One proxy for everything, or `http=host:port;https=host:port;socks=host:port`.
  const entries = new Map(
    server.split(/[;\s]+/).map((entry): [string, string] => {
      const at = entry.indexOf('=')
      return at === -1 ? ['', entry] : [entry.slice(0, at).toLowerCase(), entry.slice(at + 1)]
    }),
  )
  const socks = withScheme(entries.get('socks'), 'socks')
  const one = (name: string): string | undefined => withScheme(entries.get(name) ?? entries.get('')) ?? socks
  return { ...settings, http: one('http'), https: one('https'), except: values.get('ProxyOverride') }
}

/** Reads what `scutil --proxy` prints. */
export function parseMacProxies(text: string): Proxies {
  const values = new Map(
    [...text.matchAll(/^ {2}(\w+) : (.*)$/gm)].map(([, name = '', value = '']) => [name, value.trim()]),
  )
  const list = /ExceptionsList : <array> \{([^}]*)\}/.exec(text)?.[1] ?? ''
  const exceptions = [...list.matchAll(/^\s*\d+ : (.*)$/gm)].map(([, value = '']) => value.trim())
  if (values.get('ExcludeSimpleHostnames') === '1') exceptions.push('<local>')
  const one = (name: string, scheme = 'http'): string | undefined => {
    const host = values.get(`${name}Proxy`)
    if (values.get(`${name}Enable`) !== '1' || host === undefined || host === '') return undefined
    const port = values.get(`${name}Port`)
    const shown = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
    return `${scheme}://${shown}${port === undefined ? '' : `:${port}`}`
  }
  const socks = one('SOCKS', 'socks')
  const pac = values.get('ProxyAutoConfigEnable') === '1' ? values.get('ProxyAutoConfigURLString') : undefined
  return {
    http: one('HTTP') ?? socks,
    https: one('HTTPS') ?? socks,
    except: exceptions.length === 0 ? undefined : exceptions.join(','),
    pac,
  }
}

/** The proxy settings of the system: of Windows and macOS; other systems have the environment alone. */
export async function systemProxies(host: SystemProxyHost): Promise<Proxies> {
  try {
    if (host.platform === 'win32') {
      const program = join(host.env['SystemRoot'] ?? String.raw`C:\Windows`, 'System32', 'reg.exe')
      return { ...parseWindowsProxies(await host.run(program, ['query', INTERNET_SETTINGS])), isOfSystem: true }
    }
    if (host.platform === 'darwin')
      return { ...parseMacProxies(await host.run('/usr/sbin/scutil', ['--proxy'])), isOfSystem: true }
  } catch {
    // Without an answer there is nothing to go by: requests go straight to the server, and say if they get nowhere.
  }
  return NONE
}

/**
 * The proxies in force: those of the environment where it names any, or says that there are none (`NO_PROXY=*`), else
 * those of the system.
 */
export class ProxySettings {
  readonly #host: SystemProxyHost
  readonly #monotonic: () => number
  #kept: { readonly proxies: Promise<Proxies>; readonly at: number } | undefined

  constructor(host: SystemProxyHost = systemProxyHost, monotonic: () => number = () => performance.now()) {
    this.#host = host
    this.#monotonic = monotonic
  }

  async current(): Promise<Proxies> {
    const own = proxiesOf(this.#host.env)
    if (own.http !== undefined || own.https !== undefined || own.except?.trim() === '*') return own
    const now = this.#monotonic()
    if (this.#kept === undefined || now - this.#kept.at > KEPT_MS)
      this.#kept = { proxies: systemProxies(this.#host), at: now }
    const found = await this.#kept.proxies
    const except = [own.except, found.except].filter((list) => list !== undefined).join(',')
    return { ...found, except: except === '' ? undefined : except }
  }
}
