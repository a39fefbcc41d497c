import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { utf8Encode } from '@keyturn/primitives'
import type { Scope } from '@keyturn/release-client'
import { scopes } from '@keyturn/release-client'
import { expect, it } from 'vitest'
import { TestPublisher } from './publisher.ts'
import { startServer } from './support.ts'

const spec = fileURLToPath(new URL('../../../docs/spec/release-server.md', import.meta.url))

interface Row {
  readonly call: string
  readonly scope: string
  readonly otherProduct: string
  readonly otherChannel: string
}

/** The table "Who may call what" of the specification. */
async function table(): Promise<Row[]> {
  const text = await readFile(spec, 'utf8')
  const rows = /\| call \| scope \|[^\n]*\n\|[-|]+\n((?:\|.*\n)+)/.exec(text)?.[1] ?? ''
  return rows
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [call = '', scope = '', otherProduct = '', otherChannel = ''] = line
        .split('|')
        .slice(1, 5)
        .map((cell) => cell.trim())
      return { call: call.replaceAll('`', ''), scope: scope.replaceAll('`', ''), otherProduct, otherChannel }
    })
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly 'x-scope'?: Scope }>>>>
}

/** A value for each part of an address: the product and channel exist, everything else is well-formed and does not. */
const parts: Readonly<Record<string, string>> = {
  p: 'metin2',
  c: 'stable',
  v: '0',
  w: '0',
  n: '7',
  key: '7',
  sha: '0'.repeat(64),
  id: '0123456789abcdef',
  prefix: 'E'.repeat(44),
  z32: 'y'.repeat(52),
  device: 'd',
}

const bodies: Readonly<Record<string, unknown>> = {
  'POST /v1/products': { slug: 'fresh', pin: 'did:keri:x' },
}

function addressOf(call: string): { readonly method: string; readonly path: string } {
  const [method = '', template = ''] = call.split(' ')
  const path = template
    .replace('/devices/{key}', `/devices/${'0'.repeat(64)}`)
    .replace('/v1/sessions/{id}', `/v1/sessions/${'0'.repeat(32)}`)
    .replace(/\{([a-z0-9]+)\}/g, (_, name: string) => parts[name] ?? 'x')
  return { method, path }
}

it('every route answers every kind of caller as the table of the specification says', async () => {
  const { url, client, token } = await startServer({ vault: { passphrase: 'x', scryptLogN: 4 } })
  const admin = await client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(admin)
  const release = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(admin, release)

  const outcome = async (call: string, authorization: string | undefined): Promise<string> => {
    const { method, path } = addressOf(call)
    const hasBody = method !== 'GET' && method !== 'HEAD' && method !== 'DELETE' && method !== 'OPTIONS'
    const stop = new AbortController()
    const answer = await fetch(url + path, {
      method,
      signal: stop.signal,
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        ...(hasBody ? { 'content-type': 'application/json' } : {}),
      },
      body: hasBody ? JSON.stringify(bodies[call] ?? {}) : null,
    })
    if (answer.headers.get('content-type') === 'text/event-stream') {
      stop.abort()
      return 'allowed'
    }
    const { code = '', detail = '' } = (await answer.json().catch(() => ({}))) as { code?: string; detail?: string }
    if (/^(?:SRV|UP)_AUTH$/.test(code)) return '401'
    if (/^(?:SRV|UP)_SCOPE$/.test(code)) return '403'
    return code === 'SRV_NOT_FOUND' && detail === 'There is no such product or channel' ? '404' : 'allowed'
  }

  const api = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi
  const calls = Object.entries(api.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(() => path.startsWith('/v1/') || path.startsWith('/pubky/') || path.startsWith('/pkarr/'))
      .map(([method, operation]) => ({
        call: `${method.toUpperCase()} ${path}`,
        scope: operation['x-scope'] as Scope | undefined,
      })),
  )
  const others = ['POST /noise/runtime-key', 'GET /witness', 'POST /witness/receipts', 'GET /witness/receipts'].map(
    (call) => ({ call, scope: undefined }),
  )
  const found: Row[] = []
  for (const { call, scope } of [...calls, ...others].toSorted((a, b) => (a.call < b.call ? -1 : 1))) {
    if (scope === undefined) {
      expect([call, await outcome(call, undefined)]).toEqual([call, 'allowed'])
      found.push({ call, scope: '–', otherProduct: '–', otherChannel: '–' })
      continue
    }
    const bearer = async (...given: Parameters<typeof token>) => `Bearer ${await token(...given)}`
    expect([call, await outcome(call, undefined)]).toEqual([call, '401'])
    expect([call, await outcome(call, `Bearer m2t_${'a'.repeat(16)}_${'a'.repeat(43)}`)]).toEqual([call, '401'])
    const lacking = scopes.filter((each) => each !== scope && each !== 'admin')
    expect([call, await outcome(call, await bearer(lacking))]).toEqual([call, '403'])
    expect([call, await outcome(call, await bearer([scope]))]).toEqual([call, 'allowed'])
    found.push({
      call,
      scope,
      otherProduct: await outcome(call, await bearer([scope], { products: ['other'] })),
      otherChannel: await outcome(call, await bearer([scope], { channels: ['other'] })),
    })
  }
  // What the table has to be, for anyone who adds a call: paste it into the specification.
  if (process.env['KEYTURN_PRINT_CALLERS'] !== undefined)
    for (const { call, scope, otherProduct, otherChannel } of found)
      console.log(`| \`${call}\` | ${scope === '–' ? scope : `\`${scope}\``} | ${otherProduct} | ${otherChannel} |`)
  expect(await table()).toEqual(found)
})
