import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hexEncode } from '@keyturn/primitives'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeRuntimeKeyBlob } from '../src/index.ts'
import { deliveryNamed } from '../src/node/index.ts'
import { keyBytes, makeKey, rejectionOf, verifier } from './fixtures.ts'

const hasCompiler = spawnSync('cc', ['--version']).status === 0
if (!hasCompiler) console.info('C receiver: no C compiler here, skipped')

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte, at) => total + byte * (at + 1), 0)
const expected = `key_id 4 sum ${sum(keyBytes())} verifier ${sum(verifier)}\n`
const patient = { timeoutMs: 240_000 }
const keyHex = hexEncode(keyBytes())

describe.skipIf(!hasCompiler)('C receiver', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runtime-key-c-'))
  const client = join(folder, 'client')
  beforeAll(() => {
    const source = fileURLToPath(new URL('../c/example.c', import.meta.url))
    const strict = ['-O2', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined']
    if (spawnSync('c++', ['--version']).status === 0) {
      for (const standard of ['-std=c++11', '-std=c++20'])
        execFileSync('c++', [standard, ...strict, '-x', 'c++', source, '-o', client])
    }
    for (const standard of ['-std=c11', '-std=c99'])
      execFileSync('cc', [standard, '-pedantic', ...strict, source, '-o', client])
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const run = (env: Record<string, string>, args: string[] = []): string =>
    spawnSync(client, args, { env, encoding: 'utf8' }).stdout.trim()

  it.each(['env', 'fd', 'shared-memory'] as const)('takes the key by %s', async (name) => {
    const { child, received } = await deliveryNamed(name, patient).deliver(makeKey(), {
      file: client,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) text += chunk.toString()
    expect(text).toBe(expected)
    await received
  })

  it('is told from a client that never read, however fast it ends', async () => {
    for (let round = 0; round < 40; round += 1) {
      const started = await deliveryNamed('fd', patient).deliver(makeKey(), {
        file: client,
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      await started.received
    }
    for (let round = 0; round < 20; round += 1) {
      const started = await deliveryNamed('fd', patient).deliver(makeKey(), {
        file: '/bin/false',
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      expect(await rejectionOf(started.received)).toBe('RK_CHILD_GONE')
    }
  })

  it('lets arguments win over the environment, field by field', () => {
    const env = { M2PACK_MASTER_KEY_HEX: keyHex, M2PACK_KEY_ID: '9' }
    expect(run(env, ['--m2pack-key-id=4', '--m2pack-pubkey-hex', hexEncode(verifier)])).toBe(expected.trim())
    expect(run({ ...env, M2PACK_KEY_ID: '4294967295' })).toContain('key_id 4294967295 ')
  })

  it('answers with the same codes as the receiver in TypeScript (rows 94, 95)', () => {
    expect(run({})).toBe('RK_MISSING')
    expect(run({ M2PACK_MASTER_KEY_HEX: keyHex })).toBe('RK_MISSING')
    for (const bad of ['', keyHex.slice(1), `${keyHex}0`, keyHex.toUpperCase(), `0x${keyHex.slice(2)}`]) {
      expect(run({ M2PACK_MASTER_KEY_HEX: bad, M2PACK_KEY_ID: '1' })).toBe('RK_ENCODING')
    }
    for (const bad of ['0', '01', '-1', '4294967296', 'x', '99999999999']) {
      expect(run({ M2PACK_MASTER_KEY_HEX: keyHex, M2PACK_KEY_ID: bad })).toBe('RK_KEY_ID')
    }
    expect(run({ M2PACK_MASTER_KEY_HEX: '00'.repeat(32), M2PACK_KEY_ID: '1' })).toBe('RK_WEAK')
  })

  it('refuses a mapping that is cut, altered, taken, or open to others (rows 104, 109)', () => {
    const name = `M2PackSharedKeys-1-1-${hexEncode(keyBytes(`${process.pid}`)).slice(0, 32)}`
    const path = join('/dev/shm', name)
    const blob = writeRuntimeKeyBlob(makeKey())
    try {
      for (const bytes of [
        blob.slice(0, 83),
        new Uint8Array(85),
        new Uint8Array(84),
        blob.map((byte, at) => (at === 8 ? 2 : byte)),
      ]) {
        writeFileSync(path, bytes, { mode: 0o600 })
        expect(run({ M2PACK_KEY_MAP: `/${name}` })).toBe('RK_DELIVERY_CORRUPT')
        expect(existsSync(path)).toBe(false)
      }
      writeFileSync(path, blob)
      chmodSync(path, 0o644)
      expect(run({ M2PACK_KEY_MAP: `/${name}` })).toBe('RK_SHM_OCCUPIED')
      for (const other of ['', '/x', '/M2PackSharedKeys-', '/M2PackSharedKeys-../../x', 'Local\\M2PackSharedKeys']) {
        expect(run({ M2PACK_KEY_MAP: other })).toBe('RK_DELIVERY_CORRUPT')
      }
      for (const fd of ['0', '2', '77', 'x']) expect(run({ M2PACK_KEY_FD: fd })).toBe('RK_DELIVERY_CORRUPT')
    } finally {
      rmSync(path, { force: true })
    }
  })
})
