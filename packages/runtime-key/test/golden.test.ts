import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { concatBytes, hexDecode, hexEncode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import {
  exchangePrologue,
  openKeyAnswer,
  parseExchangeRequest,
  parseKeyRequest,
  parseRuntimeKeyBlob,
  parseRuntimeKeyJson,
  RuntimeKey,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyAnswer,
  writeKeyRequest,
  writeRuntimeKeyBlob,
  writeRuntimeKeyJson,
} from '../src/index.ts'

// Every format in its first version. Later versions must read these; they are never written again. A missing file is
// written once, by a run with KEYTURN_WRITE_GOLDEN=1.
const folder = new URL('./golden/v1/', import.meta.url)
const verifier = hexDecode('5ab2a2d4e5cb3f0911f2b542e5c89625d792ef545025dc387c635f78da5b8379')
const goldenKey = (): RuntimeKey =>
  RuntimeKey.take({ keyId: 0x0102_0304, masterKey: new Uint8Array(32).fill(0x11), signPublicKey: verifier })
const header = writeExchangeHeader({ pattern: 'NK', serverKeyHint: serverKeyHint(new Uint8Array(32).fill(0x22)) })
const request = { keyId: 0x0102_0304, manifestSha256: new Uint8Array(32).fill(0x33) }

const made: Record<string, Uint8Array | string> = {
  'superset.json': writeRuntimeKeyJson(goldenKey()),
  'original.json': writeRuntimeKeyJson(goldenKey(), { compat: 'original' }),
  'blob.hex': hexEncode(writeRuntimeKeyBlob(goldenKey())),
  'exchange-header.hex': hexEncode(header),
  'exchange-prologue.hex': hexEncode(exchangePrologue(header)),
  'key-request.hex': hexEncode(writeKeyRequest(request)),
  'key-answer-granted.hex': hexEncode(writeKeyAnswer({ runtimeKey: goldenKey() })),
  'key-answer-refused.hex': hexEncode(writeKeyAnswer({ refusal: 'RK_NOT_YET', retryAfterS: 600 })),
}

describe('golden files', () => {
  it('of version 1 are read, and would be written the same', () => {
    for (const [name, content] of Object.entries(made)) {
      const path = new URL(name, folder)
      if (process.env['KEYTURN_WRITE_GOLDEN'] === '1' && !existsSync(path)) {
        mkdirSync(folder, { recursive: true })
        writeFileSync(path, content)
      }
      expect([name, readFileSync(path, 'utf8')]).toEqual([
        name,
        typeof content === 'string' ? content : new TextDecoder().decode(content),
      ])
    }
    const read = (name: string): Uint8Array => Uint8Array.from(readFileSync(new URL(name, folder)))
    const hex = (name: string): Uint8Array => hexDecode(readFileSync(new URL(name, folder), 'utf8'))
    const keys = [
      parseRuntimeKeyJson(read('superset.json')),
      parseRuntimeKeyJson(read('original.json')),
      parseRuntimeKeyBlob(hex('blob.hex')),
      openKeyAnswer(hex('key-answer-granted.hex'), 0x0102_0304),
    ]
    for (const key of keys)
      expect([key.keyId, key.signPublicKey, key.withBytes(hexEncode)]).toEqual([0x0102_0304, verifier, '11'.repeat(32)])
    expect(parseKeyRequest(hex('key-request.hex'))).toEqual(request)
    expect(parseExchangeRequest(concatBytes(hex('exchange-header.hex'), new Uint8Array(85))).header).toEqual(header)
    expect(() => openKeyAnswer(hex('key-answer-refused.hex'), 1)).toThrow(
      expect.objectContaining({ code: 'RK_NOT_YET' }),
    )
  })
})
