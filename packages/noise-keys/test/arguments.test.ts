import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { createTransportIdentity, memoryDirectory, parseKeyRecord } from '../src/index.ts'
import { releaseServerDirectory, transportIdentity } from '../src/index.ts'
import { askOnce, HandshakeState, noiseKeyPair, noiseProtocol, NoiseSession } from '../src/noise/index.ts'
import { Publisher } from '../src/owner/index.ts'
import { KeyFloors, lookUpKeys, preferredKey } from '../src/reader/index.ts'

const { seed: _seed, ...identity } = createTransportIdentity()

const rows: readonly LeftOut[] = [
  ['lookUpKeys()', 'directory', (nothing) => lookUpKeys(nothing, identity, new KeyFloors(), { nowS: 0 })],
  ['lookUpKeys()', 'identity', (nothing) => lookUpKeys(memoryDirectory(), nothing, new KeyFloors(), { nowS: 0 })],
  ['lookUpKeys()', 'floors', (nothing) => lookUpKeys(memoryDirectory(), identity, nothing, { nowS: 0 })],
  ['lookUpKeys()', 'options', (nothing) => lookUpKeys(memoryDirectory(), identity, new KeyFloors(), nothing)],
  ['preferredKey()', 'verdicts', (nothing) => preferredKey(nothing)],
  ['noiseProtocol()', 'name', (nothing) => noiseProtocol(nothing)],
  ['noiseKeyPair()', 'dh', (nothing) => noiseKeyPair(nothing)],
  ['new HandshakeState()', 'protocol', (nothing) => new HandshakeState(nothing, { role: 'initiator' })],
  ['new HandshakeState()', 'options', (nothing) => new HandshakeState('Noise_NN_25519_ChaChaPoly_SHA256', nothing)],
  ['askOnce()', 'protocol', (nothing) => askOnce(nothing, {}, new Uint8Array(1))],
  ['new NoiseSession()', 'result', (nothing) => new NoiseSession(nothing)],
  ['new Publisher()', 'options', (nothing) => new Publisher(nothing)],
  ['transportIdentity()', 'publicKey', (nothing) => transportIdentity(nothing)],
  ['parseKeyRecord()', 'text', (nothing) => parseKeyRecord(nothing)],
  ['releaseServerDirectory()', 'url', (nothing) => releaseServerDirectory(nothing)],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments(rows)
})
