import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { nodeFetch, nodeFetchWith } from '../src/fetch/node-fetch.ts'
import { proxiesOf, proxyFor, shownUrl } from '../src/fetch/proxy.ts'
import { ProxySettings } from '../src/fetch/system-proxy.ts'
import type { SystemProxyHost } from '../src/fetch/system-proxy.ts'
import { engineFor } from './support/install.ts'
import { Publisher } from './support/publisher.ts'

const target = new URL('http://releases.example/x')
const through = (env: Record<string, string>, url = target): string | undefined => proxyFor(url, proxiesOf(env))?.href

describe('proxyFor()', () => {
  it('reads what other programs read, a host without a scheme and ALL_PROXY included (row 314)', () => {
    expect(through({ HTTP_PROXY: 'http://proxy.example:3128' })).toBe('http://proxy.example:3128/')
    expect(through({ http_proxy: 'proxy.example:3128' })).toBe('http://proxy.example:3128/')
    expect(through({ ALL_PROXY: 'http://all.example' }, new URL('https://releases.example/'))).toBe(
      'http://all.example/',
    )
    expect(through({ HTTPS_PROXY: 'http://proxy.example:3128' })).toBeUndefined()
    expect(through({ HTTP_PROXY: '' })).toBeUndefined()
  })

  it('leaves out what NO_PROXY names (row 314)', () => {
    const env = { HTTP_PROXY: 'http://proxy.example' }
    for (const list of ['*', 'releases.example', '.example', '*.example', 'a.test, releases.example:80'])
      expect(through({ ...env, NO_PROXY: list })).toBeUndefined()
    for (const list of ['eases.example', 'releases.example:81', 'other.example'])
      expect(through({ ...env, no_proxy: list })).toBe('http://proxy.example/')
  })

  it('understands networks and patterns in NO_PROXY (row 314)', () => {
    const at = (host: string, list: string): string | undefined =>
      through({ HTTP_PROXY: 'http://proxy.example', NO_PROXY: list }, new URL(`http://${host}/x`))
    for (const [host, list] of [
      ['10.1.2.3', '10.0.0.0/8'],
      ['169.254.9.9', '169.254/16'],
      ['[fd00::1]', 'fd00::/8'],
      ['[fd00::1]', 'fd00::1'],
      ['192.168.7.7', '192.168.*'],
      ['a.b.example', 'a.*.example'],
      ['host', '<local>'],
    ] as const)
      expect([host, list, at(host, list)]).toEqual([host, list, undefined])
    for (const [host, list] of [
      ['11.1.2.3', '10.0.0.0/8'],
      ['10.1.2.3', '10.0.0.0/99'],
      ['ten.example', '10.0.0.0/8'],
      ['[fd00::1]', '10.0.0.0/8'],
      ['192.169.7.7', '192.168.*'],
      ['a.example', 'a.*.example'],
      ['host.example', '<local>'],
    ] as const)
      expect([host, list, at(host, list)]).toEqual([host, list, 'http://proxy.example/'])
  })

  it('refuses what cannot be used, unless the server is excepted (row 314)', () => {
    for (const value of ['socks5://127.0.0.1:1', 'ftp://proxy.example', 'http://', 'pac+http://proxy/x.pac']) {
      expect(() => through({ HTTP_PROXY: value })).toThrow(expect.objectContaining({ code: 'LA_PROXY' }))
      expect(through({ HTTP_PROXY: value, NO_PROXY: 'example' })).toBeUndefined()
    }
  })
})

describe('nodeFetch() through a proxy', () => {
  const { HTTP_PROXY } = process.env
  afterEach(() => {
    if (HTTP_PROXY === undefined) delete process.env['HTTP_PROXY']
    else process.env['HTTP_PROXY'] = HTTP_PROXY
  })

  it('asks the proxy, and names it when it does not answer (row 314)', async () => {
    const seen: (string | undefined)[] = []
    const server = createServer((request, response) => {
      seen.push(request.url)
      response.end('from the proxy')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    process.env['HTTP_PROXY'] = `http://user:s3cret@127.0.0.1:${port}`
    expect(await (await nodeFetch(target.href, {})).text()).toBe('from the proxy')
    expect(seen).toEqual([target.href])
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    const publisher = await Publisher.create()
    const { engine } = await engineFor(publisher, { fetch: nodeFetch, retry: { tries: 1 } })
    const error = await engine.update().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'LA_NETWORK' })
    expect(String(error)).toContain(`at the proxy 127.0.0.1:${port}`)
    expect(JSON.stringify([String(error), error])).not.toContain('s3cret')
  })

  it('fails in words where the proxy cannot be used (row 314)', async () => {
    process.env['HTTP_PROXY'] = 'socks5://127.0.0.1:1'
    const publisher = await Publisher.create()
    const { engine } = await engineFor(publisher, { fetch: nodeFetch })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_PROXY', hint: expect.stringContaining('NO_PROXY') })
  })
})

/** A system whose programs print this. */
function host(platform: NodeJS.Platform, output: string | Error, env: Record<string, string> = {}) {
  const ran: string[] = []
  const made: SystemProxyHost = {
    platform,
    env,
    run: async (file, args) => {
      ran.push([file, ...args].join(' '))
      if (output instanceof Error) throw output
      return output
    },
  }
  return { made, ran }
}

const registry = (...lines: readonly string[]): string =>
  `\r\nHKEY_CURRENT_USER\\Software\\…\\Internet Settings\r\n${lines.map((line) => `    ${line}\r\n`).join('')}\r\n`
const ENABLED = 'ProxyEnable    REG_DWORD    0x1'

const MAC = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
  }
  ExcludeSimpleHostnames : 1
  HTTPEnable : 1
  HTTPPort : 3128
  HTTPProxy : proxy.example
  HTTPSEnable : 1
  HTTPSPort : 3129
  HTTPSProxy : proxy.example
}`

describe('the proxy of the system', () => {
  const chosen = async (platform: NodeJS.Platform, output: string, url = target): Promise<string | undefined> =>
    proxyFor(url, await new ProxySettings(host(platform, output).made).current())?.href
  const secure = new URL('https://releases.example/x')

  it('is read from the registry of Windows (row 314)', async () => {
    const one = registry(
      ENABLED,
      'ProxyServer    REG_SZ    proxy.example:3128',
      'ProxyOverride    REG_SZ    10.*;<local>',
    )
    expect(await chosen('win32', one)).toBe('http://proxy.example:3128/')
    expect(await chosen('win32', one, secure)).toBe('http://proxy.example:3128/')
    for (const direct of ['http://10.1.1.1/', 'http://intranet/', 'http://127.0.0.1:8470/', 'http://localhost/'])
      expect(await chosen('win32', one, new URL(direct))).toBeUndefined()
    const several = registry(ENABLED, 'ProxyServer    REG_SZ    http=a.example:1;https=b.example:2;ftp=c.example:3')
    expect(await chosen('win32', several)).toBe('http://a.example:1/')
    expect(await chosen('win32', several, secure)).toBe('http://b.example:2/')
    for (const off of [
      registry('ProxyEnable    REG_DWORD    0x0', 'ProxyServer    REG_SZ    proxy:1'),
      registry(ENABLED),
      '',
    ])
      expect(await chosen('win32', off)).toBeUndefined()
    const { made, ran } = host('win32', one, { SystemRoot: 'D:\\Win' })
    const settings = new ProxySettings(made)
    await settings.current()
    await settings.current()
    expect(ran).toEqual([expect.stringMatching(/^D:\\Win.System32.reg\.exe query HKCU/)])
  })

  it('is read from scutil on macOS (row 314)', async () => {
    expect(await chosen('darwin', MAC)).toBe('http://proxy.example:3128/')
    expect(await chosen('darwin', MAC, secure)).toBe('http://proxy.example:3129/')
    for (const direct of ['http://a.local/', 'http://169.254.1.1/', 'http://printer/'])
      expect(await chosen('darwin', MAC, new URL(direct))).toBeUndefined()
    expect(await chosen('darwin', MAC.replaceAll('Enable : 1', 'Enable : 0'))).toBeUndefined()
  })

  it('gives way to the environment, is refused where it is SOCKS only, and is none elsewhere or without an answer (row 314)', async () => {
    const { made, ran } = host('win32', registry(ENABLED, 'ProxyServer    REG_SZ    proxy.example:1'), {
      HTTPS_PROXY: 'http://own.example',
    })
    expect(proxyFor(secure, await new ProxySettings(made).current())?.href).toBe('http://own.example/')
    const excepted = host('darwin', MAC, { NO_PROXY: '*' })
    expect(proxyFor(target, await new ProxySettings(excepted.made).current())).toBeUndefined()
    expect([...ran, ...excepted.ran]).toEqual([])
    const added = host('darwin', MAC, { NO_PROXY: 'releases.example' })
    expect(proxyFor(target, await new ProxySettings(added.made).current())).toBeUndefined()
    for (const [platform, socks] of [
      ['win32', registry(ENABLED, 'ProxyServer    REG_SZ    socks=s.example:1080')],
      [
        'darwin',
        MAC.replaceAll('HTTPSEnable : 1', 'SOCKSEnable : 1\n  SOCKSProxy : s').replace('HTTPEnable : 1', 'X : 1'),
      ],
    ] as const)
      await expect(chosen(platform, socks)).rejects.toMatchObject({
        code: 'LA_PROXY',
        message: expect.stringContaining('of the system settings'),
      })
    expect(proxyFor(target, await new ProxySettings(host('linux', MAC).made).current())).toBeUndefined()
    expect(proxyFor(target, await new ProxySettings(host('win32', new Error('no reg')).made).current())).toBeUndefined()
  })

  it('by a script (PAC) is not supported: requests go out directly, and one that fails says so (row 314)', async () => {
    const script = registry('AutoConfigURL    REG_SZ    http://wpad.example/proxy.pac?key=s3cret')
    const publisher = await Publisher.create()
    const fetch = nodeFetchWith(new ProxySettings(host('win32', script).made))
    const { engine } = await engineFor(publisher, { fetch, server: 'http://127.0.0.1:1/', retry: { tries: 1 } })
    const error = await engine.update().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'LA_NETWORK', message: expect.stringContaining('by a script (PAC)') })
    expect(JSON.stringify([String(error), error])).not.toContain('s3cret')
  })
})

describe('a password in the address of the server', () => {
  it('is shown in no status and no error (row 315)', async () => {
    const publisher = await Publisher.create()
    const server = 'http://user:s3cret@releases.test/'
    const { engine, events } = await engineFor(publisher, {
      server,
      fetch: async () => new Response('no', { status: 403 }),
    })
    const error = await engine.update().catch((thrown: unknown) => thrown)
    const { details } = error as { details: object }
    const status = await engine.status()
    expect(JSON.stringify([String(error), details, status, events])).not.toContain('s3cret')
    expect(status.server).toBe('http://releases.test/')
    expect(shownUrl('no address//user:s3cret@host')).not.toContain('s3cret')
  })
})
