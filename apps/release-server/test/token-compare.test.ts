import * as crypto from 'node:crypto'
import { expect, it, vi } from 'vitest'
import { TokenChecker } from '../src/access/tokens.ts'
import { startServer } from './support.ts'

// What is compared, and how, is the whole of what a caller could measure.
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>()
  return { ...real, timingSafeEqual: vi.fn(real.timingSafeEqual) }
})

const compare = vi.mocked(crypto.timingSafeEqual)

it('a token is compared once, by its hash and in constant time, whatever is wrong with it (row 234)', async () => {
  const { server, token } = await startServer()
  const good = await token(['admin'])
  const [, id = '', secret = ''] = good.split('_')
  const checker = new TokenChecker(server.context)
  const other = (text: string, at: number) => text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
  const cases = [
    good,
    `m2t_${id}_${other(secret, 0)}`,
    `m2t_${id}_${other(secret, secret.length - 1)}`,
    `m2t_${'a'.repeat(16)}_${secret}`,
    'm2t_short',
    '',
  ]
  for (const text of cases) {
    compare.mockClear()
    const refused = await checker.authenticate(text).then(
      () => false,
      () => true,
    )
    expect([text, refused, compare.mock.calls.length]).toEqual([text, text !== good, 1])
    expect(compare.mock.calls[0]?.map((bytes) => (bytes as Uint8Array).length)).toEqual([32, 32])
  }
})
