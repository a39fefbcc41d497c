import { createServer } from 'node:http'
import type { lookup } from 'node:dns'
import { expect, it } from 'vitest'
import { checkReceiver, postEvent } from '../src/events/post-event.ts'
import { atEnd, startServer } from './support.ts'

const event = { headers: { 'content-type': 'application/json' }, body: '{}', withinMs: 5000 }

/** A receiver that answers with a redirect; returns its port and what it got. */
async function receiver(): Promise<{ port: number; got: string[] }> {
  const got: string[] = []
  const server = createServer((request, response) => {
    got.push(`${request.method} ${request.headers.host}${request.url}`)
    response.writeHead(307, { location: '/elsewhere' }).end('x'.repeat(100_000))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  atEnd(async () => server.close())
  return { port: (server.address() as { port: number }).port, got }
}

/** A name service that gives these addresses. */
const naming = (...addresses: string[]): typeof lookup =>
  ((_host: string, _options: object, done: (error: null, found: object[]) => void) =>
    done(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )) as unknown as typeof lookup

it.each([
  'http://169.254.169.254/latest/meta-data/',
  'http://2852039166/',
  'http://0xa9.0xfe.0xa9.0xfe/',
  'http://[::ffff:169.254.169.254]/',
  'http://[fe80::1]/',
  'http://[fd00:ec2::254]/',
  'http://100.100.100.200/',
])('no events are sent to where a cloud describes its machines: %s', async (url) => {
  expect(() => checkReceiver(url)).toThrow(expect.objectContaining({ code: 'SRV_REQUEST' }))
  await expect(postEvent(url, event)).rejects.toMatchObject({ code: 'SRV_REQUEST' })
})

it('nor by way of a name, not even when another address of it is a good one', async () => {
  const { port, got } = await receiver()
  const url = `http://receiver.example:${port}/hook`
  for (const found of [['169.254.169.254'], ['127.0.0.1', '169.254.169.254'], ['::ffff:169.254.169.254']])
    await expect(postEvent(url, { ...event, resolveName: naming(...found) })).rejects.toMatchObject({
      code: 'SRV_REQUEST',
    })
  expect(got).toEqual([])
  expect(await postEvent(url, { ...event, resolveName: naming('127.0.0.1') })).toBe(307)
  expect(got).toEqual([`POST receiver.example:${port}/hook`])
})

it('a webhook with such an address is not made', async () => {
  const { url, token } = await startServer()
  const answer = await fetch(`${url}/v1/webhooks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await token(['admin'])}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: 'http://169.254.169.254/', events: [] }),
  })
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([400, 'SRV_REQUEST'])
})
