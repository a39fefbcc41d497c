import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { kekProvider, MemoryStore, openEnvelope, sealEnvelope, Vault } from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

const rows: readonly LeftOut[] = [
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
  namesLeftOutArguments(rows)
})
