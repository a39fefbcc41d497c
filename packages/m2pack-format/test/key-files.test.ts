import { ed25519PublicKey, hexEncode } from '@keyturn/primitives'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  generateKeyFiles,
  readContentKeyFile,
  readPublicKeyFile,
  readSigningKeyFile,
  readSlotsFile,
  writeSlots,
} from '../src/node/index.ts'
import { temporaryFolder } from './support/tree.ts'
import { checkSlots } from '../src/keys.ts'

describe('generateKeyFiles()', () => {
  it('writes lower-case hex, 0600 from the first open whatever the umask, and reads back', async () => {
    const old = process.umask(0)
    try {
      const folder = temporaryFolder()
      const paths = await generateKeyFiles(folder)
      for (const name of ['master.key', 'signing.key', 'signing.pub', 'slots.key']) {
        expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600)
        expect(readFileSync(join(folder, name), 'latin1')).toMatch(/^(?:1 )?[0-9a-f]{64}\n$/)
      }
      const seed = await readSigningKeyFile(paths.signingKey)
      expect(await readPublicKeyFile(paths.signingPublicKey)).toEqual(ed25519PublicKey(seed))
      expect((await readContentKeyFile(paths.masterKey)).length).toBe(32)
      expect([...(await readSlotsFile(paths.slots as string)).keys()]).toEqual([1])
    } finally {
      process.umask(old)
    }
  })

  it('never overwrites, and leaves nothing of its own when one file is there (row 263)', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'signing.pub'), 'mine')
    await expect(generateKeyFiles(folder)).rejects.toMatchObject({ code: 'PRIM_EXISTS' })
    expect(readdirSync(folder)).toEqual(['signing.pub'])
    expect(readFileSync(join(folder, 'signing.pub'), 'utf8')).toBe('mine')
  })

  it('leaves all files or none, whichever call to the disk fails', async () => {
    for (const mode of ['fail', 'short-write'] as const) {
      for (let at = 0; ; at++) {
        const folder = temporaryFolder()
        const fs = faultFileSystem({ plan: { at, mode, code: 'ENOSPC' } })
        const outcome = await generateKeyFiles(join(folder, 'keys'), { fs }).then(
          () => 'done',
          (error: { code: string }) => error.code,
        )
        expect(fs.openHandles).toBe(0)
        const left = existsSync(join(folder, 'keys')) ? readdirSync(join(folder, 'keys')) : []
        if (outcome === 'done') expect(left.sort()).toEqual(['master.key', 'signing.key', 'signing.pub', 'slots.key'])
        else expect([outcome, left]).toEqual(['PRIM_DISK_FULL', []])
        if (!fs.fired) break
      }
    }
  })
})

describe('generateKeyFiles() killed at any call (row 264)', () => {
  it('leaves what the next run names and never writes over', async () => {
    const outcomes = new Set<string>()
    for (let at = 0; ; at++) {
      const keys = join(temporaryFolder(), 'keys')
      const fs = faultFileSystem({ plan: { at, mode: 'crash' } })
      await generateKeyFiles(keys, { fs }).catch(() => undefined)
      const read = (): Record<string, string> =>
        Object.fromEntries(
          (existsSync(keys) ? readdirSync(keys) : [])
            .filter((name) => !name.startsWith('.'))
            .map((name) => [name, readFileSync(join(keys, name), 'utf8')]),
        )
      const before = read()
      const outcome = await generateKeyFiles(keys).then(
        () => 'done',
        (error: { code: string }) => error.code,
      )
      expect(outcome).toBe(Object.keys(before).length === 0 ? 'done' : 'PRIM_EXISTS')
      expect(read()).toMatchObject(before)
      outcomes.add(outcome)
      if (!fs.fired) break
    }
    expect([...outcomes].sort()).toEqual(['PRIM_EXISTS', 'done'])
  })
})

describe('key file readers', () => {
  const key = new Uint8Array(32).map((_, index) => index + 1)

  it('take raw bytes, hex and base64', async () => {
    const folder = temporaryFolder()
    const forms = {
      raw: key,
      hex: `${hexEncode(key)}\n`,
      upper: `  ${hexEncode(key).toUpperCase()}\r\n`,
      base64: `${Buffer.from(key).toString('base64')}\n`,
    }
    for (const [name, content] of Object.entries(forms)) {
      writeFileSync(join(folder, name), content)
      expect(await readContentKeyFile(join(folder, name)), name).toEqual(key)
    }
  })

  it('take a signing key in hex or base64 with and without a line feed: 64 digits are no 64 raw bytes', async () => {
    const path = join(temporaryFolder(), 'signing.key')
    const both = Buffer.concat([key, ed25519PublicKey(key)])
    const texts = [
      Buffer.from(key).toString('hex'),
      Buffer.from(key).toString('hex').toUpperCase(),
      Buffer.from(key).toString('base64'),
      both.toString('hex'),
      both.toString('base64'),
    ]
    for (const content of [
      Buffer.from(key),
      both,
      ...texts,
      ...texts.map((text) => `${text}\n`),
      ...texts.map((text) => `${text}\r\n`),
    ]) {
      writeFileSync(path, content)
      expect(await readSigningKeyFile(path), String(content.length)).toEqual(key)
    }
  })

  it('take a signing key of 64 bytes only when seed and public key belong together', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'signing.key')
    writeFileSync(path, Buffer.concat([key, ed25519PublicKey(key)]))
    expect(await readSigningKeyFile(path)).toEqual(key)
    writeFileSync(path, hexEncode(Buffer.concat([key, ed25519PublicKey(new Uint8Array(32))])))
    await expect(readSigningKeyFile(path)).rejects.toMatchObject({ code: 'M2P_KEY_INVALID' })
  })

  it('refuse everything else without showing any of it', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'x.key')
    for (const content of [
      '',
      'short',
      hexEncode(key).slice(2),
      `${hexEncode(key)}00`,
      `g${hexEncode(key).slice(1)}`,
      Buffer.alloc(32),
      Buffer.alloc(2_000_000),
    ]) {
      writeFileSync(path, content)
      const error: unknown = await readContentKeyFile(path).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'M2P_KEY_INVALID' })
      expect(String(error)).not.toContain(hexEncode(key).slice(8, 24))
    }
    writeFileSync(path, Buffer.alloc(32))
    await expect(readPublicKeyFile(path)).rejects.toMatchObject({ code: 'M2P_KEY_INVALID' })
  })

  it('number slots from 1 to 2^32 - 1', () => {
    const secret = new Uint8Array(32)
    const slot = (number: number) => new Map([[number, secret]])
    for (const number of [1, 4_294_967_295]) expect(() => checkSlots(slot(number)), String(number)).not.toThrow()
    for (const number of [0, 1.5, 4_294_967_296])
      expect(() => checkSlots(slot(number)), String(number)).toThrow(RangeError)
  })

  it('read slots line by line', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'slots.key')
    const slots = new Map([
      [3, key],
      [1, key.toReversed()],
    ])
    writeFileSync(path, writeSlots(slots))
    expect(await readSlotsFile(path)).toEqual(
      new Map([
        [1, key.toReversed()],
        [3, key],
      ]),
    )
    const hex = hexEncode(key)
    for (const bad of [
      '',
      `0 ${hex}`,
      `1 ${hex}\n1 ${hex}`,
      `01 ${hex}`,
      `4294967296 ${hex}`,
      `1 ${hex.slice(1)}`,
      `1  ${hex}`,
      hex,
    ]) {
      writeFileSync(path, bad)
      await expect(readSlotsFile(path)).rejects.toMatchObject({ code: 'M2P_KEY_INVALID' })
    }
  })
})
