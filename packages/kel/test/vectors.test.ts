import { describe, expect, it } from 'vitest'
import { ed25519PublicKey, hexDecode, hexEncode } from '@keyturn/primitives'
import { checkStream, keyText, verifyLog } from '../src/index.ts'
import { nextDigestOf } from '../src/owner/index.ts'
import { bytes, signifyVectors } from './support/vectors.ts'
import type { FinalState } from './support/vectors.ts'
import type { KeyState } from '../src/index.ts'

const vectors = signifyVectors()

function expectState(state: KeyState, final: FinalState): void {
  expect({
    sn: state.sn.toString(16),
    said: state.said,
    ilk: state.type,
    k: state.keys,
    n: state.nextDigests,
    b: state.witnesses,
    bt: state.witnessThreshold.toString(16),
    est_only: state.traits.includes('EO'),
    transferable: state.nextDigests.length > 0,
    last_est: { s: state.lastEstablishment.sn.toString(16), d: state.lastEstablishment.said },
  }).toEqual({
    sn: final.sn,
    said: final.said,
    ilk: final.ilk,
    k: final.k,
    n: final.n,
    b: final.b,
    bt: final.bt,
    est_only: final.est_only,
    transferable: final.transferable,
    last_est: final.last_est,
  })
}

describe('signify vectors', () => {
  it('are all there', () => {
    expect(vectors.suites).toHaveLength(9)
    expect(vectors.suites.flatMap(({ events }) => events)).toHaveLength(38)
    expect(vectors.bad).toHaveLength(46)
    expect(vectors.receipts).toHaveLength(2)
    expect(Object.keys(vectors.keys)).toHaveLength(70)
  })

  it.each(vectors.suites.map((suite) => [suite.id, suite] as const))(
    'verifyLog() reaches the state of keripy: %s',
    (_id, suite) => {
      const log = verifyLog(bytes(suite.stream), { prefix: suite.pre })
      expectState(log.state, suite.keripy.final[suite.pre] as FinalState)
      expect(log.events.map(({ said }) => said)).toEqual(suite.authoritative ?? suite.events.map(({ said }) => said))
      expect(log.superseded.map(({ said }) => said)).toEqual(suite.superseded ?? [])
    },
  )

  it.each(vectors.suites.map((suite) => [suite.id, suite] as const))(
    'checkStream() accepts in first-seen order: %s',
    (_id, suite) => {
      const checked = checkStream(bytes(suite.stream))
      expect(checked.messages.map(({ verdict }) => verdict)).toEqual(suite.events.map(() => 'accept'))
      expect(checked.firstSeen.get(suite.pre)).toEqual(suite.keripy.first_seen_order[suite.pre])
    },
  )

  it.each(vectors.bad.map((bad) => [bad.id, bad.want, bad] as const))(
    'checkStream() answers %s with %s',
    (_id, want, bad) => {
      const checked = checkStream(bytes(bad.stream.join('')))
      expect(checked.messages.at(-1)?.verdict).toBe(want)
      expect(checked.messages).toHaveLength(bad.stream.length)
      if (bad.stricter_than_keripy !== true) {
        expect(checked.states.map(({ prefix }) => prefix).sort()).toEqual(Object.keys(bad.keripy.final).sort())
        for (const state of checked.states) expectState(state, bad.keripy.final[state.prefix] as FinalState)
      }
    },
  )

  it.each(vectors.bad.filter((bad) => bad.stricter_than_keripy === true).map((bad) => [bad.id, bad] as const))(
    'checkStream() lets pass what keripy lets pass, and says so: %s',
    (_id, bad) => {
      const checked = checkStream(bytes(bad.stream.join('')), { lenient: 'keripy' })
      expect(checked.messages.at(-1)?.verdict).toBe('accept-with-warning')
      for (const state of checked.states) expectState(state, bad.keripy.final[state.prefix] as FinalState)
    },
  )

  it.each(vectors.receipts.map((receipt) => [receipt.id, receipt] as const))(
    'checkStream() takes the receipt %s',
    (_id, receipt) => {
      const suite = vectors.suites.find(({ events }) => events.some(({ said }) => said === receipt.for))
      const event = suite?.events.find(({ said }) => said === receipt.for)
      const checked = checkStream(bytes((event?.message ?? '') + receipt.message + receipt.message))
      expect(checked.messages.map(({ verdict }) => verdict)).toEqual(['accept', 'accept', 'accept-idempotent'])
    },
  )

  it('derives the text and the promise of every key', () => {
    for (const entry of Object.values(vectors.keys)) {
      const publicKey = ed25519PublicKey(hexDecode(entry.seed_hex))
      expect(hexEncode(publicKey)).toBe(entry.public_hex)
      expect(keyText(publicKey, entry.transferable)).toBe(entry.public_qb64)
      if (entry.transferable) expect(nextDigestOf(publicKey)).toBe(entry.next_digest)
    }
  })
})
