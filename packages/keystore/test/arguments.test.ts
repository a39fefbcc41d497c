import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { Keystore, memoryStorage } from '../src/index.ts'
import { createKeystore, openKeystore, openOrCreateKeystore } from '../src/node/index.ts'

const rows: readonly LeftOut[] = [
  ['Keystore.create()', 'storage', (nothing) => Keystore.create(nothing, 'passphrase')],
  ['Keystore.create()', 'passphrase', (nothing) => Keystore.create(memoryStorage(), nothing)],
  ['Keystore.open()', 'storage', (nothing) => Keystore.open(nothing, 'passphrase')],
  ['Keystore.open()', 'passphrase', (nothing) => Keystore.open(memoryStorage(), nothing)],
  ['createKeystore()', 'path', (nothing) => createKeystore(nothing, 'passphrase')],
  ['openKeystore()', 'path', (nothing) => openKeystore(nothing, 'passphrase')],
  ['openOrCreateKeystore()', 'path', (nothing) => openOrCreateKeystore(nothing, 'passphrase')],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments(rows)
})
