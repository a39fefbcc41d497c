import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { nodeFetch } from '../src/fetch/node-fetch.ts'
import { proxiesOf, proxyFor, shownUrl } from '../src/fetch/proxy.ts'
import { engineFor } from './support/install.ts'
import { Publisher } from './support/publisher.ts'

const target = new URL('http://releases.example/x')
const through = (env: Record<string, string>, url = target): string | undefined => proxyFor(url, proxiesOf(env))?.href

describe('proxyFor() (F20)', () => {
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

  it('refuses what cannot be used, unless the server is excepted (row 314)', () => {
    for (const value of ['socks5://127.0.0.1:1', 'ftp://proxy.example', 'http://', 'pac+http://proxy/x.pac']) {
      expect(() => through({ HTTP_PROXY: value })).toThrow(expect.objectContaining({ code: 'LA_PROXY' }))
      expect(through({ HTTP_PROXY: value, NO_PROXY: 'example' })).toBeUndefined()
    }
  })
})

describe('nodeFetch() through a proxy (F20)', () => {
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

describe('a password in the address of the server (F19)', () => {
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
