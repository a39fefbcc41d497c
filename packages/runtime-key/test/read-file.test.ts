import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { writeRuntimeKeyBlob, writeRuntimeKeyJson } from '../src/index.ts'
import { readRuntimeKeyFile } from '../src/node/index.ts'
import { makeKey, rejectionOf } from './fixtures.ts'

const folder = mkdtempSync(join(tmpdir(), 'runtime-key-'))
const file = join(folder, 'runtime-key.json')
afterAll(() => rmSync(folder, { recursive: true }))

describe('readRuntimeKeyFile()', () => {
  it('reads JSON and blob', async () => {
    for (const bytes of [writeRuntimeKeyJson(makeKey()), writeRuntimeKeyBlob(makeKey())]) {
      writeFileSync(file, bytes)
      expect((await readRuntimeKeyFile(file)).keyId).toBe(4)
    }
  })

  it('answers RK_MISSING for no file, RK_JSON for anything else (row 94)', async () => {
    expect(await rejectionOf(readRuntimeKeyFile(join(folder, 'none')))).toBe('RK_MISSING')
    for (const bytes of [new Uint8Array(0), new Uint8Array(84), new Uint8Array(100_000)]) {
      writeFileSync(file, bytes)
      expect(await rejectionOf(readRuntimeKeyFile(file))).toBe('RK_JSON')
    }
    expect(await rejectionOf(readRuntimeKeyFile(folder))).toBe('EISDIR')
  })
})
