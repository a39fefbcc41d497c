import { describe, expect, it } from 'vitest'
import { kekProvider, MemoryStore, openEnvelope, sealEnvelope, Vault } from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

/** A call with one argument left out, and the name that the error has to say. */
type Row = readonly [call: string, argument: string, run: (nothing: never) => unknown]

const rows: readonly Row[] = [
  ['Vault.create()', 'store', (nothing) => Vault.create(nothing, memoryProvider())],
  ['Vault.create()', 'provider', (nothing) => Vault.create(new MemoryStore(), nothing)],
  ['Vault.open()', 'store', (nothing) => Vault.open(nothing, memoryProvider())],
  ['Vault.open()', 'provider', (nothing) => Vault.open(new MemoryStore(), nothing)],
  ['kekProvider()', 'id', (nothing) => kekProvider(nothing, nothing)],
  ['kekProvider()', 'kek', (nothing) => kekProvider('id', nothing)],
  ['sealEnvelope()', 'plaintext', (nothing) => sealEnvelope(nothing, nothing, nothing, nothing)],
  ['sealEnvelope()', 'options', (nothing) => sealEnvelope(nothing, nothing, new Uint8Array(1), nothing)],
  ['openEnvelope()', 'envelope', (nothing) => openEnvelope(nothing, nothing, nothing)],
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
