import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hasMac, macOf } from '../src/tree/archive-mac.ts'

const key = new Uint8Array(32).fill(7)
const { signal } = new AbortController()
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyturn-mac-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function file(bytes: Uint8Array): string {
  const path = join(folder, 'archive')
  writeFileSync(path, bytes)
  return path
}

describe('macOf()', () => {
  it.each([0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 2_500_001])(
    'is AES-256-GMAC of all %i bytes under a key of its own',
    async (size) => {
      const bytes = randomBytes(size)
      const { salt, tag } = await macOf(key, file(bytes), signal)
      const own = new Uint8Array(hkdfSync('sha256', key, Buffer.from(salt, 'hex'), 'keyturn archive mac v1', 32))
      const once = createCipheriv('aes-256-gcm', own, new Uint8Array(12)).setAAD(bytes)
      once.final()
      expect(tag).toBe(once.getAuthTag().toString('hex'))
    },
  )

  it('takes another key for each archive', async () => {
    const path = file(randomBytes(100))
    expect(await macOf(key, path, signal)).not.toEqual(await macOf(key, path, signal))
  })

  it('stops when it is asked to', async () => {
    await expect(macOf(key, file(randomBytes(100)), AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  })
})

describe('hasMac()', () => {
  it('accepts the same bytes, and no others', async () => {
    const bytes = randomBytes(1024 * 1024 + 40)
    const mac = await macOf(key, file(bytes), signal)
    expect(await hasMac(key, mac, file(bytes), signal)).toBe(true)
    for (const at of [0, 1, 1024 * 1024 - 1, 1024 * 1024, bytes.length - 1]) {
      const other = Buffer.from(bytes)
      other.writeUInt8(other.readUInt8(at) ^ 1, at)
      expect(await hasMac(key, mac, file(other), signal)).toBe(false)
    }
    expect(await hasMac(key, mac, file(bytes.subarray(0, -1)), signal)).toBe(false)
    expect(await hasMac(key, mac, file(Buffer.concat([bytes, Buffer.alloc(1)])), signal)).toBe(false)
    expect(await hasMac(new Uint8Array(32), mac, file(bytes), signal)).toBe(false)
  })
})
