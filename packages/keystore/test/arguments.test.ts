import { describe, expect, it } from 'vitest'
import { Keystore, memoryStorage } from '../src/index.ts'
import { createKeystore, openKeystore, openOrCreateKeystore } from '../src/node/index.ts'

/** A call with one argument left out, and the name that the error has to say. */
type Row = readonly [call: string, argument: string, run: (nothing: never) => unknown]

const rows: readonly Row[] = [
  ['Keystore.create()', 'storage', (nothing) => Keystore.create(nothing, 'passphrase')],
  ['Keystore.create()', 'passphrase', (nothing) => Keystore.create(memoryStorage(), nothing)],
  ['Keystore.open()', 'storage', (nothing) => Keystore.open(nothing, 'passphrase')],
  ['Keystore.open()', 'passphrase', (nothing) => Keystore.open(memoryStorage(), nothing)],
  ['createKeystore()', 'path', (nothing) => createKeystore(nothing, 'passphrase')],
  ['openKeystore()', 'path', (nothing) => openKeystore(nothing, 'passphrase')],
  ['openOrCreateKeystore()', 'path', (nothing) => openOrCreateKeystore(nothing, 'passphrase')],
]

describe('arguments that are left out', () => {
  it.each(rows)('%s without %s: a TypeError that names it', async (_call, argument, run) => {
    const error = await Promise.resolve()
      .then(() => run(undefined as never))
      .then(
        () => 'no error',
        (thrown: unknown) => thrown,
      )
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(new RegExp(`^${argument} must `))
  })
})
