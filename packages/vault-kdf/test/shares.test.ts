import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hexDecode, hexEncode, systemRandom } from '@keyturn/primitives'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { copyKeyFile, createKeyFile, openKeyFile } from '../src/node/index.ts'
import { combineShares, describeShare, sharedPassphrase, splitSecret } from '../src/shares/index.ts'

interface Case {
  secret: string
  threshold: number
  set: string
  shares: string[]
}

const { sets } = JSON.parse(readFileSync(new URL('vectors/shares.json', import.meta.url), 'utf8')) as { sets: Case[] }
const code = (name: string): unknown => expect.objectContaining({ code: name })
const secret = Uint8Array.from({ length: 32 }, (_, index) => index + 1)
const folder = await mkdtemp(join(tmpdir(), 'keyturn-shares-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Every choice of `size` out of a list. */
function choices<T>(list: readonly T[], size: number): T[][] {
  if (size === 0) return [[]]
  return list.flatMap((item, index) => choices(list.slice(index + 1), size - 1).map((rest) => [item, ...rest]))
}

describe('shares of a secret', () => {
  it.each(sets)('of the independent implementation give the secret: $threshold of $shares.length', async (set) => {
    for (const some of choices(set.shares, set.threshold)) {
      const combined = await combineShares(some.toReversed())
      expect([hexEncode(combined.secret), combined.setId]).toEqual([set.secret, set.set])
    }
    expect(set.shares.map((share) => describeShare(share).number)).toEqual(set.shares.map((_, index) => index + 1))
  })

  it('every choice of enough of them gives the secret, and every choice of fewer is refused', async () => {
    const shares = await splitSecret(secret, { threshold: 3, shares: 5 })
    for (const size of [3, 4, 5])
      for (const some of choices(shares, size)) expect((await combineShares(some)).secret).toEqual(secret)
    for (const size of [0, 1, 2])
      for (const some of choices(shares, size))
        await expect(combineShares(some)).rejects.toEqual(code('VK_SHARES_MISSING'))
    const [one = '', two = ''] = shares
    await expect(combineShares([one, two, one, one])).rejects.toMatchObject({ details: { found: 2, expected: 3 } })
  })

  it('any secret, threshold and number is split and found again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.integer({ min: 2, max: 12 }),
        fc.integer({ min: 0, max: 8 }),
        async (bytes, threshold, more) => {
          const shares = await splitSecret(bytes, { threshold, shares: threshold + more })
          expect((await combineShares(shares.slice(more))).secret).toEqual(bytes)
        },
      ),
      { numRuns: 30 },
    )
    const most = await splitSecret(secret, { threshold: 255, shares: 255 })
    expect((await combineShares(most)).secret).toEqual(secret)
  })

  it('a character that is wrong, missing or too many is found, wherever it is', async () => {
    const [share = '', other = ''] = await splitSecret(secret, { threshold: 2, shares: 2 })
    expect(share).toMatch(/^ktshare1(-[a-z0-9]{1,5})+$/)
    for (let at = 0; at < share.length; at++) {
      if (share[at] === '-') continue
      const letter = share[at] === 'y' ? 'b' : 'y'
      const typed = share.slice(0, at) + letter + share.slice(at + 1)
      await expect(combineShares([typed, other])).rejects.toEqual(code('VK_SHARE'))
      await expect(combineShares([share.slice(0, at) + share.slice(at + 1), other])).rejects.toEqual(code('VK_SHARE'))
    }
    for (const text of ['', 'ktshare1', `${share}y`, share.replace('ktshare1', 'ktshare2'), `${share}!`])
      await expect(combineShares([text, other])).rejects.toEqual(code('VK_SHARE'))
    const sloppy = ` ${share.toUpperCase().replaceAll('-', ' \n')} `
    expect((await combineShares([sloppy, other])).secret).toEqual(secret)
  })

  it('shares of two sets are refused, and so are shares that were changed on purpose', async () => {
    const [one = '', two = ''] = await splitSecret(secret, { threshold: 2, shares: 3 })
    const [other = ''] = await splitSecret(secret, { threshold: 2, shares: 3 })
    await expect(combineShares([one, other])).rejects.toEqual(code('VK_SHARE_SET'))
    const forged = forge(one, (bytes) => {
      bytes[20] = (bytes[20] ?? 0) ^ 1
    })
    await expect(combineShares([forged, two])).rejects.toEqual(code('VK_SHARE_SECRET'))
    await expect(combineShares([forged, one, two])).rejects.toEqual(code('VK_SHARE_SECRET'))
    const samePlace = forge(one, (bytes) => {
      bytes[52] = 0
    })
    await expect(combineShares([samePlace, two])).rejects.toEqual(code('VK_SHARE_SECRET'))
    for (const [at, value] of [
      [0, 2],
      [9, 1],
      [9, 4],
      [11, 0],
      [11, 9],
    ] as const) {
      const wrong = forge(one, (bytes) => {
        bytes[at] = value
      })
      await expect(combineShares([wrong, two])).rejects.toEqual(code('VK_SHARE'))
    }
  })

  it('one share fewer than the threshold tells nothing: every secret is as likely', async () => {
    // Over GF(2⁸), one share of 2 takes every value for a fixed secret byte; seen here by its spread over many splits.
    const seen = new Set<number>()
    for (let round = 0; round < 1_500; round++) {
      const [share = ''] = await splitSecret(new Uint8Array(32), { threshold: 2, shares: 2, random: systemRandom })
      seen.add(bytesOf(share)[20] ?? 0)
      if (seen.size > 200) break
    }
    expect(seen.size).toBeGreaterThan(200)
  })

  it.each([
    [31, 2, 3],
    [33, 2, 3],
    [32, 1, 3],
    [32, 4, 3],
    [32, 2, 256],
    [32, 2.5, 3],
  ])('splitSecret() refuses %d bytes in %d of %d', async (length, threshold, shares) => {
    await expect(splitSecret(new Uint8Array(length), { threshold, shares })).rejects.toThrow(RangeError)
  })
})

const Z32 = 'ybndrfg8ejkmcpqxot1uwisza345h769'

function bytesOf(share: string): Uint8Array {
  const bits = [...share.replace('ktshare1', '').replaceAll('-', '')]
    .map((letter) => Z32.indexOf(letter).toString(2).padStart(5, '0'))
    .join('')
  return Uint8Array.from({ length: Math.floor(bits.length / 8) }, (_, at) =>
    Number.parseInt(bits.slice(at * 8, at * 8 + 8), 2),
  )
}

/** A share with other bytes and a checksum that fits. */
function forge(share: string, change: (bytes: Uint8Array) => void): string {
  const bytes = bytesOf(share).slice(0, 53)
  change(bytes)
  const sum = createHash('sha256').update(bytes).digest().subarray(0, 4)
  const bits = [...bytes, ...sum].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const letters = bits.match(/.{1,5}/g) ?? []
  return `ktshare1${letters.map((five) => Z32[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')}`
}

describe('copyKeyFile()', () => {
  it('makes a second key file for the same vault, which shares open', async () => {
    const options = { scryptLogN: 4 }
    const file = join(folder, 'vault.key')
    const spare = join(folder, 'spare.key')
    const context = { vaultId: 'v', keyVersion: 1, purpose: 'master' } as const
    const { wrapped, plaintext } = await (await createKeyFile(file, 'everyday', options)).generate(context)
    await copyKeyFile(file, 'everyday', { path: spare, passphrase: sharedPassphrase(secret) }, options)
    const shares = await splitSecret(secret, { threshold: 2, shares: 3 })
    const { secret: found } = await combineShares(shares.slice(1))
    const provider = await openKeyFile(spare, sharedPassphrase(found), options)
    expect(await provider.unwrap(wrapped, context)).toEqual(plaintext)
    await expect(openKeyFile(spare, 'everyday', options)).rejects.toEqual(code('VK_PASSPHRASE'))
    const again = copyKeyFile(file, 'everyday', { path: spare, passphrase: 'x' }, options)
    await expect(again).rejects.toEqual(code('PRIM_EXISTS')) // never over another
    expect(await readFile(spare, 'utf8')).not.toContain(hexEncode(secret))
    expect(hexDecode(hexEncode(found))).toEqual(secret)
  })
})
