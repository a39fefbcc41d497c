import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { base64Encode, canonicalJson } from '@keyturn/primitives'
import { afterAll, describe, expect, it } from 'vitest'
import { VaultError } from '../src/index.ts'
import {
  deriveKek,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseBytes,
  passphraseCheck,
  passphraseForms,
  passphraseInput,
  writePassphraseKdf,
} from '../src/passphrase-keys/index.ts'
import { wrapMaster } from '../src/keyring-parts/index.ts'
import { changeKeyFilePassphrase, createKeyFile, openKeyFile } from '../src/node/index.ts'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-passphrase-'))
afterAll(() => rm(folder, { recursive: true, force: true }))
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const BOM = '\uFEFF'
const composed = 'h\u00e9llo-pass'
const decomposed = composed.normalize('NFD')

describe('one passphrase means one key', () => {
  it('passphraseBytes() takes composed and decomposed letters, a byte order mark and a line end for one passphrase', () => {
    const wanted = utf8(composed)
    for (const typed of [composed, decomposed, `${BOM}${composed}`, `${composed}\n`, `${BOM}${decomposed}\r\n`]) {
      expect(passphraseBytes(typed)).toEqual(wanted)
      expect(passphraseBytes(utf8(typed))).toEqual(wanted)
    }
  })

  it('passphraseBytes() leaves bytes that are not text, inner line ends and ASCII as they are', () => {
    const random = new Uint8Array([0xff, 0xfe, 0x00, 0x0a])
    expect(passphraseBytes(random)).toEqual(random)
    expect(passphraseBytes('hunter2\rextra\n')).toEqual(utf8('hunter2\rextra'))
    expect(passphraseBytes('correct horse ')).toEqual(utf8('correct horse ')) // spaces count
    expect(passphraseForms('correct horse')).toHaveLength(1)
  })

  it('a key file made with one form opens with every other', async () => {
    const path = join(folder, 'forms.key')
    await createKeyFile(path, utf8(`${BOM}${decomposed}`), { scryptLogN: 4 })
    for (const typed of [composed, decomposed, utf8(decomposed), utf8(`${BOM}${composed}\r\n`)])
      (await openKeyFile(path, typed)).dispose()
    await expect(openKeyFile(path, 'hello-pass')).rejects.toMatchObject({ code: 'VK_PASSPHRASE' })
  })

  it('a key file that an earlier version made from the bytes as they came still opens', async () => {
    for (const [name, written, given] of [
      ['decomposed', utf8(decomposed), utf8(decomposed)],
      ['decomposed, typed composed', utf8(decomposed), utf8(composed)],
      ['with its byte order mark', utf8(`${BOM}${composed}`), utf8(`${BOM}${composed}`)],
      ['with its line end', utf8(`${composed}\n`), utf8(`${composed}\n`)],
      ['cut at a CR by the library', utf8('hunter2'), utf8('hunter2\rextra')],
    ] as const) {
      const path = join(folder, `old-${name}.key`)
      const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(7)
      const kdf = newPassphraseKdf(random, 4)
      const key = deriveKek(written, kdf)
      const json = {
        format: 'keyturn-keyfile-1',
        kdf: writePassphraseKdf(kdf),
        check: base64Encode(passphraseCheck(key)),
        wrapped: base64Encode(
          wrapMaster(
            key,
            new Uint8Array(32).fill(1),
            { vaultId: 'keyturn-keyfile-1', keyVersion: 0, purpose: 'master' },
            random,
          ),
        ),
      }
      await writeFile(path, canonicalJson(json), { mode: 0o600 })
      ;(await openKeyFile(path, given)).dispose()
      // A new passphrase puts it under the one form.
      await changeKeyFilePassphrase(path, given, utf8(decomposed), { scryptLogN: 4 })
      ;(await openKeyFile(path, composed)).dispose()
    }
  })
})

describe('passphraseInput()', () => {
  it('takes one line, with or without its end', () => {
    for (const input of ['pass', 'pass\n', 'pass\r\n', 'pass\r', `${BOM}pass\n`])
      expect(passphraseBytes(passphraseInput(utf8(input)))).toEqual(utf8('pass'))
  })

  it('refuses what is not one line of text, and says what it found', () => {
    const utf16 = Uint8Array.from('pass\n', (char) => char.charCodeAt(0)).reduce<number[]>(
      (all, byte) => [...all, byte, 0],
      [],
    )
    for (const [input, problem] of [
      [utf8(''), 'empty'],
      [utf8('\n'), 'empty'],
      [utf8(BOM), 'empty'],
      [utf8('one\ntwo\n'), 'lines'],
      [utf8('one\n\n'), 'lines'],
      [new Uint8Array(utf16), 'nul'],
      [new Uint8Array(4097).fill(0x61), 'long'],
    ] as const) {
      const error = caught(() => passphraseInput(input))
      expect([input.length, error.code, error.details['problem']]).toEqual([
        input.length,
        'VK_PASSPHRASE_FORM',
        problem,
      ])
      expect(error.hint).toBeDefined()
    }
  })
})

describe('a secret of 32 random bytes', () => {
  it('needs no slow derivation', () => {
    const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(3)
    const kdf = parsePassphraseKdf(writePassphraseKdf({ algorithm: 'hkdf-sha256', salt: random(32) }))
    expect(kdf.algorithm).toBe('hkdf-sha256')
    const secret = new Uint8Array(32).fill(5)
    expect(deriveKek(secret, kdf)).toHaveLength(32)
    expect(deriveKek(secret, kdf)).toEqual(deriveKek(secret, kdf))
    expect(deriveKek(new Uint8Array(32).fill(6), kdf)).not.toEqual(deriveKek(secret, kdf))
  })
})

function caught(call: () => unknown): VaultError {
  try {
    call()
  } catch (error) {
    if (error instanceof VaultError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
