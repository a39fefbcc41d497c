import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { API_LIMITS, blobFromBytes, ProblemError, ReleaseServerClient, ServerError } from '../src/index.ts'
import type { BlobSource, ReleaseServerClientOptions } from '../src/index.ts'

interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  readonly body: string
}

/** A client on a server that gives these answers in order, the last one for all further calls. */
function against(answers: readonly (() => Response)[], options: ReleaseServerClientOptions = {}) {
  const sent: Sent[] = []
  const pauses: number[] = []
  const answer: typeof fetch = async (input, init) => {
    sent.push({
      method: init?.method ?? 'GET',
      path: String(input).replace('https://updates.example', ''),
      headers: new Headers(init?.headers),
      body: typeof init?.body === 'string' ? init.body : '',
    })
    const next = answers[Math.min(sent.length, answers.length) - 1]
    if (next === undefined) throw new TypeError('fetch failed')
    return next()
  }
  const client = new ReleaseServerClient('https://updates.example/', {
    fetch: answer,
    sleep: async (ms) => {
      pauses.push(ms)
    },
    ...options,
  })
  return { client, sent, pauses }
}

const json = (body: unknown, status = 200, headers: Record<string, string> = {}) =>
  Response.json(body, { status, headers })

describe('a call', () => {
  it('carries the token, and an idempotency key when it is a POST', async () => {
    const { client, sent } = against([() => json({ items: [] }), () => json({ slug: 'game' })], { token: 'm2t_a_b' })
    await client.listProducts()
    await client.createProduct({ slug: 'game', pin: 'did:keri:x' })
    expect(sent.map(({ headers }) => headers.get('authorization'))).toEqual(['Bearer m2t_a_b', 'Bearer m2t_a_b'])
    expect(sent.map(({ headers }) => headers.has('idempotency-key'))).toEqual([false, true])
  })

  it('is repeated with the same idempotency key while the server is busy, after the pause it names', async () => {
    const { client, sent, pauses } = against([
      () => json({ code: 'SRV_RATE' }, 429, { 'retry-after': '7' }),
      () => json({ code: 'SRV_UNAVAILABLE' }, 503),
      () => json({ slug: 'game' }),
    ])
    await client.createProduct({ slug: 'game', pin: 'did:keri:x' })
    expect(pauses).toEqual([7000, 500])
    expect(new Set(sent.map(({ headers }) => headers.get('idempotency-key'))).size).toBe(1)
  })

  it.each([404, 405])('frees no blobs on a server that does not know how: %d', async (status) => {
    expect(await against([() => json({ code: 'SRV_NOT_FOUND' }, status)]).client.freeBlobs(['ab'.repeat(32)])).toEqual(
      [],
    )
    await expect(against([() => json({ code: 'SRV_SCOPE' }, 403)]).client.freeBlobs([])).rejects.toThrow()
  })

  it('escapes every part of an address', async () => {
    const { client, sent } = against([() => json({ code: 'SRV_NOT_FOUND' }, 404)])
    expect(await client.getRelease('a/../b', 'c?d', '1#2')).toBeUndefined()
    expect(sent[0]?.path).toBe('/v1/products/a%2F..%2Fb/channels/c%3Fd/releases/1%232')
  })

  it('gives up with SRV_NETWORK after its retries when nothing answers', async () => {
    const { client, sent, pauses } = against([], { retries: 2, retryPauseMs: 10 })
    const error = await client.listProducts().catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(ServerError)
    expect(error).toMatchObject({ code: 'SRV_NETWORK', kind: 'unavailable' })
    expect([sent.length, pauses]).toEqual([3, [10, 20]])
  })

  it('ends when its signal is raised, whatever is left to try', async () => {
    const stop = new AbortController()
    const { client, sent } = against([() => json({ code: 'SRV_RATE' }, 429)])
    stop.abort()
    await expect(client.checkRelease('game', 'stable', '1', { signal: stop.signal })).rejects.toThrow()
    expect(sent.length).toBe(1)
  })
})

describe('a client of very many files', () => {
  /** A server that lacks every blob and takes 5 turns of the event loop for each. */
  function lackingAll(): { readonly answer: typeof fetch; readonly most: () => number } {
    let [running, most] = [0, 0]
    const answer: typeof fetch = async (_input, init) => {
      if (typeof init?.body === 'string')
        return json({ missing: (JSON.parse(init.body) as { sha256: string[] }).sha256 })
      most = Math.max(most, (running += 1))
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
      running -= 1
      return json({}, 201)
    }
    return { answer, most: () => most }
  }

  it('sends small blobs many at a time, large ones few, and each of them once', async () => {
    const blobs = (count: number, size: number): BlobSource[] =>
      Array.from({ length: count }, (_, index) => blobFromBytes(new Uint8Array(size).fill(index)))
    for (const [size, most] of [
      [1, 32],
      [100_000, 4],
    ] as const) {
      const server = lackingAll()
      const sent: number[] = []
      const { client } = against([], { fetch: server.answer })
      const done = await client.uploadMissing(blobs(200, size), { onProgress: (bytes) => sent.push(bytes) })
      expect(done).toEqual({ blobs: 200, bytes: 200 * size, present: 0 })
      expect([sent.length, server.most()]).toEqual([200, most])
    }
  })

  it('leaves nothing on the signal of the caller, however many calls it makes', async () => {
    const stop = new AbortController()
    const signals: (AbortSignal | null | undefined)[] = []
    const { client } = against([], {
      fetch: async (_input, init) => {
        signals.push(init?.signal)
        init?.signal?.addEventListener('abort', () => undefined)
        return json({ missing: [] })
      },
    })
    for (let call = 0; call < 3; call++)
      await client.checkRelease('game', 'stable', '1', { signal: stop.signal }).catch(() => undefined)
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    stop.abort()
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true, true])
  })
})

describe('a problem answer', () => {
  it('becomes a ProblemError with code, status, hint and parts of the server', async () => {
    const { client } = against([
      () =>
        json(
          {
            code: 'PUB_MISSING_BLOBS',
            kind: 'policy',
            detail: '2 blobs are missing',
            hint: 'upload them',
            request_id: 'r1',
            errors: ['aa', 7, 'bb'],
          },
          409,
        ),
    ])
    const error = await client
      .publish('game', 'stable', { version: '1', head: new Uint8Array(1) })
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(ProblemError)
    expect(error).toMatchObject({
      code: 'PUB_MISSING_BLOBS',
      kind: 'policy',
      status: 409,
      hint: 'upload them',
      requestId: 'r1',
      errors: ['aa', 'bb'],
      message: 'Cannot publish 1 on stable: 2 blobs are missing',
    })
  })

  it.each([
    ['a page of a proxy', () => new Response('<h1>Bad gateway</h1>', { status: 502 }), 'SRV_STORAGE', 'io'],
    ['a code that is not one', () => json({ code: 'rm -rf', kind: 'fun' }, 401), 'SRV_STORAGE', 'auth'],
    ['a list', () => json([], 404), 'SRV_STORAGE', 'usage'],
  ])('is explained by its status when the body is %s', async (_name, answer, code, kind) => {
    const { client } = against([answer], { retries: 0 })
    await expect(client.listTokens()).rejects.toMatchObject({ code, kind })
  })

  it('keeps control characters of the server out of the message', async () => {
    const { client } = against([() => json({ code: 'SRV_SCOPE', detail: 'a\u001b[2Jb\r\nc' }, 403)])
    const error = (await client.listTokens().catch((caught: unknown) => caught)) as Error
    // eslint-disable-next-line no-control-regex
    expect(error.message).not.toMatch(/[\u0000-\u001f]/)
  })
})

describe('an answer without end', () => {
  const endless = () => {
    let sent = 0
    const answer = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            sent += 1
            controller.enqueue(new Uint8Array(1000))
          },
        }),
      )
    return { answer, sent: () => sent }
  }

  it('is cut off at the limit', async () => {
    const { answer, sent } = endless()
    const { client } = against([answer])
    await expect(client.fetchPublic('/head.json', { maxBytes: 10_000 })).rejects.toMatchObject({ code: 'SRV_NETWORK' })
    expect(sent()).toBeLessThan(20)
    await expect(client.listProducts()).rejects.toMatchObject({ code: 'SRV_NETWORK' })
  })
})

describe('uploadMissing()', () => {
  it('sends only what the server lacks, each blob once', async () => {
    const blobs = ['one', 'two', 'one'].map((text) => blobFromBytes(new TextEncoder().encode(text)))
    const { client, sent } = against([
      () => json({ missing: [blobs[1]?.sha256, 'ff'.repeat(32), '../x'] }),
      () => new Response(null, { status: 201 }),
    ])
    expect(await client.uploadMissing(blobs)).toEqual({ blobs: 1, bytes: 3, present: 1 })
    expect(sent.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /v1/blobs:missing',
      `PUT /v1/blobs/${blobs[1]?.sha256}`,
    ])
  })

  it('asks for any number of hashes, in batches', async () => {
    const { client, sent } = against([() => json({ missing: [] })])
    await client.missingBlobs(Array.from({ length: API_LIMITS.maxMissingQuery + 1 }, (_, at) => at.toString(16)))
    expect(sent.map(({ body }) => (JSON.parse(body) as { sha256: string[] }).sha256.length)).toEqual([10_000, 1])
  })
})

describe('a resumable upload', () => {
  const source: BlobSource = {
    sha256: 'ab'.repeat(32),
    size: 20 * 1024 * 1024,
    read: async (_offset, length) => new Uint8Array(length),
  }

  it('goes on at the offset that the server names after a piece that came twice', async () => {
    const at = (offset: number) => () =>
      new Response(null, { status: 204, headers: { 'upload-offset': String(offset) } })
    const { client, sent } = against([
      () => new Response(null, { status: 201, headers: { location: '/v1/uploads/abcdefgh' } }),
      at(0),
      () => new Response(null, { status: 409 }),
      at(16 * 1024 * 1024),
      at(source.size),
    ])
    const told: number[] = []
    await client.uploadBlob(source, { direct: false, onProgress: (bytes) => told.push(bytes) })
    expect(sent.map(({ method }) => method)).toEqual(['POST', 'HEAD', 'PATCH', 'HEAD', 'PATCH'])
    expect(told.reduce((sum, bytes) => sum + bytes, 0)).toBe(source.size)
  })

  it('gives up when the offset that the server names does not grow', async () => {
    let pieces = 0
    const answer = (method: string): Response => {
      if (method === 'POST') return new Response(null, { status: 201, headers: { location: '/v1/uploads/abcdefgh' } })
      // Back and forth, and never further than before.
      if (method === 'PATCH') pieces += 1
      const offset = pieces % 2 === 0 ? 4096 : 0
      return new Response(null, { status: 204, headers: { 'upload-offset': String(offset) } })
    }
    const client = new ReleaseServerClient('http://127.0.0.1:1', {
      retryPauseMs: 1,
      fetch: async (_url, init) => answer(init?.method ?? 'GET'),
    })
    const small = { ...source, read: async () => new Uint8Array(16) }
    await expect(client.uploadBlob(small, { direct: false })).rejects.toMatchObject({ code: 'SRV_REQUEST' })
    expect(pieces).toBeLessThan(20)
  })

  it.each(['//evil.example/v1/uploads/abcdefgh?x', '/v1/tokens/abcdefgh', ''])(
    'follows no address that is not one of an upload: %s',
    async (location) => {
      const { client, sent } = against([() => new Response(null, { status: 201, headers: { location } })])
      await expect(client.uploadBlob(source, { direct: false })).rejects.toMatchObject({ code: 'SRV_REQUEST' })
      expect(sent.length).toBe(1)
    },
  )
})
