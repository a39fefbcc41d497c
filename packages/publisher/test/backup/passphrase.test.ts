import { describe, expect, it } from 'vitest'
import { concatBytes, scrypt, sealXChaCha20Poly1305, utf8Encode, Writer } from '@keyturn/primitives'
import { openStream, sealStream } from '../../src/backup/index.ts'

const typed = 'Žluťoučký kůň'
const composed = utf8Encode(typed.normalize('NFC'))
const decomposed = utf8Encode(typed.normalize('NFD'))
const plaintext = utf8Encode('the files of a home')

async function* pieces(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const piece of stream) all.push(piece)
  return concatBytes(...all)
}

async function seal(passphrase: Uint8Array): Promise<Uint8Array> {
  return await collect(sealStream(passphrase, pieces(plaintext), { scryptLogN: 4 }))
}

async function open(passphrase: Uint8Array, sealed: Uint8Array): Promise<Uint8Array> {
  return await collect(openStream(passphrase, pieces(sealed)))
}

/** A backup as it was written when the passphrase was taken as its bytes came: docs/spec/home.md §3. */
function sealedAsTyped(passphrase: Uint8Array): Uint8Array {
  const [salt, prefix] = [new Uint8Array(32).fill(7), new Uint8Array(16).fill(9)]
  const head = new Writer().bytes(utf8Encode('KTBACKU1')).u8(4).u8(8).u8(1).u8(0).bytes(salt).bytes(prefix).finish()
  const key = scrypt(passphrase, salt, { N: 16, r: 8, p: 1, length: 32 })
  const nonce = concatBytes(prefix, new Uint8Array(8))
  return concatBytes(
    head,
    sealXChaCha20Poly1305(key, nonce, plaintext, { aad: concatBytes(head, new Uint8Array([1])) }),
  )
}

describe('the passphrase of a backup', () => {
  it('is one passphrase however a keyboard or an editor writes its letters', async () => {
    for (const passphrase of [composed, decomposed]) {
      const sealed = await seal(passphrase)
      for (const other of [composed, decomposed, utf8Encode(`\uFEFF${typed}`)])
        expect(await open(other, sealed)).toEqual(plaintext)
    }
  })

  it('opens the backups of earlier versions, which took it as it was typed', async () => {
    expect(await open(decomposed, sealedAsTyped(decomposed))).toEqual(plaintext)
    expect(await open(composed, sealedAsTyped(decomposed))).toEqual(plaintext)
    expect(await open(composed, sealedAsTyped(composed))).toEqual(plaintext)
  })

  it('refuses another one, and an empty one', async () => {
    const sealed = await seal(composed)
    for (const wrong of [utf8Encode('Zlutoucky kun'), new Uint8Array(0)])
      await expect(open(wrong, sealed)).rejects.toThrow(expect.objectContaining({ code: 'CLI_BACKUP' }))
  })
})
