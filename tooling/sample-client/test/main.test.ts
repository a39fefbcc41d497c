import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildFolder } from '@keyturn/m2pack-format/node'
import { ed25519PublicKey, hexEncode } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const key = new Uint8Array(32).fill(7)
const signingSeed = new Uint8Array(32).fill(9)

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-client-'))
  await mkdir(join(folder, 'src'))
  await mkdir(join(folder, 'pack'))
  await writeFile(join(folder, 'src', 'a.txt'), 'hello')
  await writeFile(join(folder, 'src', 'b.bin'), new Uint8Array(100_000))
  await buildFolder(join(folder, 'src'), join(folder, 'pack', 'one.m2p'), {
    contentKey: { keyId: 3, key },
    signingSeed,
  })
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

function start(masterKey: Uint8Array, keyId: string): Promise<{ code: number | null; line: Record<string, unknown> }> {
  const child = spawn(process.execPath, [main, '--dir', folder], {
    env: {
      PATH: process.env['PATH'],
      NODE_NO_WARNINGS: '1',
      M2PACK_MASTER_KEY_HEX: hexEncode(masterKey),
      M2PACK_SIGN_PUBKEY_HEX: hexEncode(ed25519PublicKey(signingSeed)),
      M2PACK_KEY_ID: keyId,
    },
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, line: JSON.parse(text) as Record<string, unknown> }))
  })
}

describe('sample client', () => {
  it('opens its archives with the key it was handed and checks every file', async () => {
    const { code, line } = await start(key, '3')
    expect(line).toMatchObject({ ok: true, key_id: 3, archives: 1, files: 2, bytes: 100_005, failures: [] })
    expect(code).toBe(0)
  })

  it('starts with no other key: neither another secret nor another key_id', async () => {
    expect(await start(new Uint8Array(32).fill(8), '3')).toMatchObject({
      code: 4,
      line: { ok: false, code: 'M2P_KEY_COMMITMENT' },
    })
    expect(await start(key, '4')).toMatchObject({ code: 4, line: { ok: false, code: 'M2P_KEY_ID_UNKNOWN' } })
  })
})
