import { describe, expect, it } from 'vitest'
import { isTag, mayUse } from '../src/check-presigned.ts'
import { ReleaseServerClient } from '../src/index.ts'

const mib = 1024 * 1024

describe('a direct upload', () => {
  const size = 20 * mib
  const part = 8 * mib
  const storage = 'https://bucket.example/b?partNumber='
  const good = { upload_id: 'u', part_bytes: part, urls: [1, 2, 3].map((at) => storage + at) }
  it.each<[string, object, string?]>([
    ['the wire of a cloud', { urls: good.urls.map(() => 'https://169.254.169.254/latest') }],
    ['this machine', { urls: good.urls.map(() => 'https://127.0.0.1:2375/build') }],
    ['this machine, by name', { urls: good.urls.map(() => 'https://localhost/') }],
    ['this machine, in six', { urls: good.urls.map(() => 'https://[::1]/') }],
    ['this machine, four in six', { urls: good.urls.map(() => 'https://[::ffff:127.0.0.1]/') }],
    ['no encryption', { urls: good.urls.map((url) => url.replace('https', 'http')) }],
    ['several hosts', { urls: [...good.urls.slice(1), 'https://elsewhere.example/'] }],
    ['too many addresses', { urls: [...good.urls, `${storage}4`] }],
    ['none', { urls: [] }],
    ['huge parts', { part_bytes: 64 * 1024 * mib, urls: good.urls.slice(0, 1) }],
    ['no numbers', { part_bytes: '8' }],
    ['no address', { urls: ['x', 'y', 'z'] }],
    ['a name to sign in with', { urls: good.urls.map((url) => url.replace('//', '//name@')) }],
  ])('sends nothing where it should not, whatever the server says: %s', async (_name, wrong) => {
    expect(mayUse({ ...good, ...wrong }, size, new URL('https://updates.example'))).toBe(false)
    const calls: string[] = []
    const lying: typeof fetch = (input) => {
      calls.push(String(input))
      return Promise.resolve(
        String(input).endsWith(':presign')
          ? Response.json({ ...good, ...wrong })
          : Response.json({ code: 'SRV_AUTH' }, { status: 401 }),
      )
    }
    const client = new ReleaseServerClient('https://updates.example', { token: 'm2t_x', fetch: lying, retryPauseMs: 1 })
    await expect(
      client.uploadBlob({ sha256: 'ab'.repeat(32), size, read: async (_at, count) => new Uint8Array(count) }),
    ).rejects.toThrow()
    expect(calls.filter((call) => !call.startsWith('https://updates.example/'))).toEqual([])
  })

  it('asks a busy storage again, after a pause that doubles', async () => {
    let asked = 0
    const busy: typeof fetch = async (input) => {
      if (String(input).endsWith(':presign')) return Response.json(good)
      if (!String(input).startsWith(storage)) return Response.json({ uploaded: true })
      asked += 1
      return new Response(null, asked < 3 ? { status: 503 } : { headers: { etag: '"0a"' } })
    }
    const pauses: number[] = []
    const sleep = async (ms: number): Promise<void> => void pauses.push(ms)
    const client = new ReleaseServerClient('https://updates.example', { fetch: busy, sleep, retryPauseMs: 10 })
    await client.uploadBlob({ sha256: 'ab'.repeat(32), size, read: async (_at, count) => new Uint8Array(count) })
    expect([asked, pauses]).toEqual([5, [10, 20]])
  })

  it('takes a storage on its own machine from a server on it, and tags only', () => {
    expect(mayUse(good, size, new URL('https://updates.example'))).toBe(true)
    expect(
      mayUse({ ...good, urls: good.urls.map(() => 'http://127.0.0.1:9000/b') }, size, new URL('http://localhost:8080')),
    ).toBe(true)
    expect(['"0a-1"', '0a', '<b>', '', '"a" "b"'].map(isTag)).toEqual([true, true, false, false, false])
  })
})
