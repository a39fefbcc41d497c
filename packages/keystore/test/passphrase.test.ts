import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { closeSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SecretBytes } from '@keyturn/primitives'
import { SecretBytes as Secret } from '@keyturn/primitives'
import { deriveKek, newPassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { newContents, writeContents } from '../src/contents.ts'
import { createKeystore, openKeystore, readPassphraseFd, readPassphraseFile } from '../src/node/index.ts'

const fast = { scryptLogN: 4 }
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const composed = 'h\u00e9llo-pass'
const decomposed = composed.normalize('NFD')
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-passphrase-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function code(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

describe('one passphrase means one key', () => {
  it('a keystore opens with every way of writing its passphrase, from text, bytes, file and descriptor', async () => {
    const path = join(folder, 'keystore')
    await createKeystore(path, composed, fast)
    let counter = 0
    for (const written of [composed, decomposed, `\uFEFF${composed}`, `${composed}\r\n`, `\uFEFF${decomposed}\n`]) {
      const file = join(folder, `passphrase-${counter++}`)
      await writeFile(file, written)
      const descriptor = openSync(file, 'r')
      for (const passphrase of [written, utf8(written), readPassphraseFile(file), readPassphraseFd(descriptor)])
        expect(await code(openKeystore(path, passphrase))).toBe('no error')
      closeSync(descriptor)
    }
    expect(await code(openKeystore(path, 'hello-pass'))).toBe('KEY_PASSPHRASE')
  })

  it('a keystore that an earlier version made from the bytes as they came still opens, and moves to the one form', async () => {
    for (const [name, made, given] of [
      ['nfd', utf8(decomposed), utf8(decomposed)],
      ['nfd, typed composed', utf8(decomposed), composed],
      ['bom', utf8(`\uFEFF${composed}`), utf8(`\uFEFF${composed}`)],
      ['cr', utf8('hunter2'), utf8('hunter2\rextra')],
    ] as const) {
      const path = join(folder, name)
      const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(9)
      const kdf = newPassphraseKdf(random, 4)
      const kek: SecretBytes = Secret.take(deriveKek(made, kdf))
      await writeFile(path, writeContents(newContents(kdf, kek, 0), kek), { mode: 0o600 })
      const keystore = await openKeystore(path, given, fast)
      await keystore.changePassphrase(utf8(decomposed))
      expect([name, await code(openKeystore(path, composed))]).toEqual([name, 'no error'])
    }
  })
})

describe('readPassphraseFile()', () => {
  it('takes the one line of a file and refuses any other file', async () => {
    const file = join(folder, 'passphrase')
    await writeFile(file, 'correct horse\r\n')
    expect(new TextDecoder().decode(readPassphraseFile(file))).toBe('correct horse')
    for (const content of ['', '\n', 'correct horse\r\nsecond line\n', 'p\0a\0s\0s\0\n\0']) {
      await writeFile(file, content)
      expect(() => readPassphraseFile(file)).toThrow(
        expect.objectContaining({ code: 'KEY_IO', hint: expect.any(String) }),
      )
    }
    expect(() => readPassphraseFile(join(folder, 'none'))).toThrow(expect.objectContaining({ code: 'KEY_IO' }))
  })
})
