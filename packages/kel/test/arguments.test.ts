import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { findPlace, formatPin, parsePin, sha256DigestSeal, statementDigest, verifyLog } from '../src/index.ts'
import { verifyLogAsync, verifyStatement } from '../src/index.ts'
import { incept, interact, rotate, seedSigner, signStatement } from '../src/owner/index.ts'

const bytes = new Uint8Array(32)
const signer = seedSigner([bytes.fill(1)])
const plan = { keys: signer.publicKeys, nextKeys: seedSigner([new Uint8Array(32).fill(2)]).publicKeys }
const { state } = await incept(plan, signer)

const rows: readonly LeftOut[] = [
  ['verifyLog()', 'stream', (nothing) => verifyLog(nothing)],
  ['verifyLogAsync()', 'stream', (nothing) => verifyLogAsync(nothing, nothing)],
  ['verifyLogAsync()', 'options', (nothing) => verifyLogAsync(bytes, nothing)],
  ['verifyStatement()', 'envelope', (nothing) => verifyStatement(nothing, bytes, nothing)],
  ['verifyStatement()', 'digest', (nothing) => verifyStatement(bytes, nothing, nothing)],
  ['verifyStatement()', 'log', (nothing) => verifyStatement(bytes, bytes, nothing)],
  ['parsePin()', 'text', (nothing) => parsePin(nothing)],
  ['formatPin()', 'pin', (nothing) => formatPin(nothing)],
  ['findPlace()', 'log', (nothing) => findPlace(nothing, nothing)],
  ['sha256DigestSeal()', 'bytes', (nothing) => sha256DigestSeal(nothing)],
  ['statementDigest()', 'content', (nothing) => statementDigest(nothing)],
  ['seedSigner()', 'seeds', (nothing) => seedSigner(nothing)],
  ['incept()', 'plan', (nothing) => incept(nothing, signer)],
  ['incept()', 'signer', (nothing) => incept({ keys: signer.publicKeys }, nothing)],
  ['rotate()', 'state', (nothing) => rotate(nothing, { keys: signer.publicKeys }, signer)],
  ['rotate()', 'plan', (nothing) => rotate(state, nothing, signer)],
  ['rotate()', 'signer', (nothing) => rotate(state, { keys: signer.publicKeys }, nothing)],
  ['interact()', 'seals', (nothing) => interact(state, nothing, signer)],
  ['signStatement()', 'content', (nothing) => signStatement(state, nothing, signer)],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments(rows)
})
