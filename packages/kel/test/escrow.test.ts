import { describe, expect, it } from 'vitest'
import { concatBytes, ed25519Sign } from '@keyturn/primitives'
import { checkStream, Kel, KelError, memoryStore } from '../src/index.ts'
import { attachSignatures, buildRotation, collectSignatures, incept, interact, rotate } from '../src/owner/index.ts'
import { localWitness, writeReceipt } from '../src/witness/index.ts'
import type { SignedEvent } from '../src/owner/index.ts'
import type { Witness } from '../src/witness/index.ts'
import { signatureGroup, witnessGroup } from '../src/cesr/attachments.ts'
import { encodeCurrentOnlySignature, encodeIndexedSignature } from '../src/cesr/indexed-signature.ts'
import { saidify } from '../src/said.ts'
import { formatVersion } from '../src/version-string.ts'
import { Actor, key, seed, signer } from './support/actors.ts'
import { forge, interactionFields, rotationFields } from './support/forge.ts'
import { bytes } from './support/vectors.ts'

/** An inception by two keys, and the body of its right rotation with the signatures of both. */
async function twoOfTwo(): Promise<{ first: SignedEvent; rotation: SignedEvent; body: Uint8Array }> {
  const first = await incept(
    { keys: [key(0), key(1)], threshold: 2, nextKeys: [key(2), key(3)], nextThreshold: 2 },
    signer(0, 1),
  )
  const made = buildRotation(first.state, { keys: [key(2), key(3)], threshold: 2, nextKeys: [key(4)] })
  const signatures = await collectSignatures(made.body, made.event.publicKeys, signer(2, 3))
  return { first, rotation: attachSignatures(first.state, made, signatures), body: made.body }
}

const signatureOf = (body: Uint8Array, n: number): Uint8Array => ed25519Sign(seed(n), body)

async function started(first: SignedEvent): Promise<Kel> {
  const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix)
  await kel.append(first.message)
  return kel
}

/** Counts what a call costs instead of the time it takes. */
function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'ok',
    (error: unknown) => {
      if (error instanceof KelError) return error.code
      throw error
    },
  )
}

describe('a copy that somebody respelled', () => {
  it('does not keep out the right one, whichever way it is respelled', async () => {
    const { first, rotation, body } = await twoOfTwo()
    const evil = [
      [encodeCurrentOnlySignature(signatureOf(body, 2), 0)],
      [encodeCurrentOnlySignature(signatureOf(body, 3), 1)],
      [encodeIndexedSignature(signatureOf(body, 2), 0, 1)],
      [encodeCurrentOnlySignature(signatureOf(body, 2), 0), encodeIndexedSignature(signatureOf(body, 2), 0, 7)],
      [encodeIndexedSignature(new Uint8Array(64), 0), encodeCurrentOnlySignature(signatureOf(body, 3), 1)],
    ].map((signatures) => concatBytes(body, bytes(signatureGroup(signatures))))
    for (const copies of [...evil.map((copy) => [copy]), evil]) {
      const kel = await started(first)
      for (const copy of copies) await codeOf(kel.append(copy))
      expect((await kel.append(rotation.message)).outcome).toBe('accepted')
      const { messages, states } = checkStream(concatBytes(first.message, ...copies, rotation.message))
      expect(messages.at(-1)?.verdict).toMatch(/^accept/)
      expect(states[0]?.sn).toBe(1)
    }
  })

  it('does not keep out signatures that come one by one, in order or before the event they follow', async () => {
    const { first, body } = await twoOfTwo()
    const evil = [
      [encodeCurrentOnlySignature(signatureOf(body, 2), 0)],
      [encodeIndexedSignature(signatureOf(body, 2), 0, 1)],
      [encodeCurrentOnlySignature(signatureOf(body, 3), 1)],
      [encodeIndexedSignature(signatureOf(body, 3), 1, 0)],
    ]
    const honest = [
      [encodeIndexedSignature(signatureOf(body, 2), 0)],
      [encodeIndexedSignature(signatureOf(body, 3), 1)],
    ]
    const copies = [...evil, ...honest].map((signatures) => concatBytes(body, bytes(signatureGroup(signatures))))
    const inOrder = await started(first)
    for (const copy of copies) await codeOf(inOrder.append(copy))
    expect(inOrder.state.sn).toBe(1)
    const early = await Kel.open(memoryStore().log(first.prefix), first.prefix)
    for (const copy of copies) expect((await early.append(copy)).outcome).toBe('waiting')
    expect((await early.append(first.message)).accepted).toHaveLength(2)
  })

  it('is merged in the right spelling when a copy has right signatures under a wrong second place', async () => {
    const { first, body } = await twoOfTwo()
    const kel = await started(first)
    await kel.append(concatBytes(body, bytes(signatureGroup([encodeIndexedSignature(signatureOf(body, 2), 0)]))))
    const mixed = signatureGroup([
      encodeCurrentOnlySignature(signatureOf(body, 2), 0),
      encodeIndexedSignature(signatureOf(body, 3), 1),
    ])
    expect((await kel.append(concatBytes(body, bytes(mixed)))).outcome).toBe('accepted')
  })
})

describe('what waits', () => {
  it('holds verified signatures only, each once, however often a copy comes', async () => {
    const { first, body } = await twoOfTwo()
    const kel = await started(first)
    const junk = Array.from({ length: 900 }, (_, n) => {
      const signature = new Uint8Array(64).fill(1)
      new DataView(signature.buffer).setUint32(0, n)
      return encodeIndexedSignature(signature, 1)
    })
    const copy = concatBytes(body, bytes(signatureGroup([encodeIndexedSignature(signatureOf(body, 2), 0), ...junk])))
    for (let n = 0; n < 60; n++) expect((await kel.append(copy)).outcome).toBe('waiting')
    const [held] = kel.waiting
    expect(held?.message.attachments.signatures.map(({ index }) => index)).toEqual([0])
    expect(held?.message.bytes.length).toBeLessThan(body.length + 200)
  })

  it('is never what no key of the event has signed', async () => {
    const { first } = await twoOfTwo()
    const kel = await started(first)
    const unsigned = forge(rotationFields(first.prefix, first.said, 5, 2, { kt: '1' }))
    const foreign = forge(rotationFields(first.prefix, first.said, 5, 2), 9)
    expect(await codeOf(kel.append(unsigned.message))).toBe('KEL_UNSIGNED')
    expect(await codeOf(kel.append(foreign.message))).toBe('KEL_SIGNATURE')
    expect(kel.waiting).toEqual([])
  })

  it('an event with more than four signatures that fail is refused', async () => {
    const keys = Array.from({ length: 20 }, (_, n) => key(n))
    const first = await incept({ keys, threshold: 20, nextKeys: [key(50)] }, signer(...keys.keys()))
    const junk = keys.map((_, index) => encodeIndexedSignature(new Uint8Array(64).fill(1), index))
    const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix)
    expect(await codeOf(kel.append(concatBytes(first.event, bytes(signatureGroup(junk)))))).toBe('KEL_SIGNATURE')
    expect((await kel.append(first.message)).outcome).toBe('accepted')
  })

  it('events that only lack signatures have room when events out of order have filled the escrow', async () => {
    const { first, body } = await twoOfTwo()
    const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix, { maxEvents: 8 })
    await kel.append(first.message)
    for (let sn = 5; sn < 13; sn++) await kel.append(forge(interactionFields(first.prefix, first.said, sn), 9).message)
    const next = forge(interactionFields(first.prefix, first.said, 13), 9)
    expect(await codeOf(kel.append(next.message))).toBe('KEL_ESCROW_FULL')
    const half = concatBytes(body, bytes(signatureGroup([encodeIndexedSignature(signatureOf(body, 2), 0)])))
    expect((await kel.append(half)).outcome).toBe('waiting')
  })

  it('is dropped after an hour of the clock, or when asked, and makes room', async () => {
    let nowMs = 1_000_000
    const actor = await Actor.start()
    const { prefix, said } = actor.state
    const kel = await Kel.open(memoryStore().log(prefix), prefix, { maxEvents: 2, clock: () => nowMs })
    const junk = (sn: number): Uint8Array => forge(interactionFields(prefix, said, sn), 9).message
    await kel.append(junk(5))
    await kel.append(junk(6))
    expect(await codeOf(kel.append(junk(7)))).toBe('KEL_ESCROW_FULL')
    expect(kel.forget(kel.waiting[0]?.message.event.said ?? '')).toBe(true)
    expect(kel.forget('unknown')).toBe(false)
    expect((await kel.append(junk(7))).outcome).toBe('waiting')
    nowMs += 3_600_001
    expect((await kel.append(junk(8))).outcome).toBe('waiting')
    expect(kel.waiting.map(({ message }) => message.event.sn)).toEqual([8])
    // A clock that jumps back makes nothing older.
    nowMs -= 10_000_000
    expect((await kel.append(junk(9))).outcome).toBe('waiting')
    expect(kel.waiting).toHaveLength(2)
  })

  it('proofs of duplicity are bounded', async () => {
    const actor = await Actor.start()
    const base = actor.state
    await actor.rotate()
    const storage = memoryStore().log(base.prefix)
    const kel = await Kel.open(storage, base.prefix)
    for (const message of actor.messages) await kel.append(message)
    for (let n = 0; n < 40; n++) {
      const rival = await rotate(base, { keys: [key(1)], nextKeys: [key(100 + n)] }, signer(1))
      expect(await codeOf(kel.append(rival.message))).toBe('KEL_DUPLICITY')
    }
    expect(await storage.duplicities()).toHaveLength(32)
  })
})

describe('receipts that come early', () => {
  const witness = (): Witness => localWitness(signer(90), memoryStore())

  function receiptOf(prefix: string, sn: number, said: string, attachments: string): Uint8Array {
    const { body } = saidify({ v: formatVersion(0), t: 'rct', d: said, i: prefix, s: sn.toString(16) })
    return concatBytes(body, bytes(attachments))
  }

  async function witnessed(): Promise<{ first: SignedEvent; receipt: Uint8Array }> {
    const { prefix } = witness()
    const plan = { keys: [key(0)], nextKeys: [key(1)], witnesses: [prefix], witnessThreshold: 1 }
    const first = await incept(plan, signer(0))
    return { first, receipt: writeReceipt(first, prefix, await signer(90).sign(first.event, 0)) }
  }

  const madeUp = (n: number): string => `E${n.toString().padStart(43, 'A')}`

  it('a flood of made-up ones keeps no honest one out, before its event or after', async () => {
    const { first, receipt } = await witnessed()
    const junk = witnessGroup([encodeIndexedSignature(new Uint8Array(64).fill(1), 0)])
    for (const order of ['event first', 'receipt last', 'receipt first'] as const) {
      const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix)
      if (order === 'event first') await kel.append(first.message)
      for (let n = 0; n < 1100; n++) await codeOf(kel.append(receiptOf(first.prefix, 5, madeUp(n), junk)))
      await kel.append(order === 'receipt first' ? receipt : order === 'receipt last' ? first.message : receipt)
      if (order !== 'event first') await kel.append(order === 'receipt first' ? first.message : receipt)
      expect(kel.isStarted).toBe(true)
    }
  })

  it('wrong ones for the event itself do not spoil the right one', async () => {
    const { first, receipt } = await witnessed()
    const wrong = (n: number): Uint8Array =>
      receiptOf(first.prefix, 0, first.said, witnessGroup([encodeIndexedSignature(new Uint8Array(64).fill(n), 0)]))
    const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix)
    for (let n = 1; n < 6; n++) await kel.append(wrong(n))
    await kel.append(first.message)
    // Its witness list is known now, so a receipt is verified when it comes.
    expect(await codeOf(kel.append(wrong(7)))).toBe('KEL_SIGNATURE')
    expect(kel.waiting).toHaveLength(1)
    expect((await kel.append(receipt)).outcome).toBe('accepted')
    const before = await Kel.open(memoryStore().log(first.prefix), first.prefix)
    for (let n = 1; n < 6; n++) await before.append(wrong(n))
    await before.append(receipt)
    expect((await before.append(first.message)).outcome).toBe('accepted')
  })
})

describe('the cost of a stream', () => {
  it('does not grow with the square of a repeated, half-signed event', async () => {
    const { first, body } = await twoOfTwo()
    const junk = Array.from({ length: 999 }, (_, n) => {
      const signature = new Uint8Array(64).fill(2)
      new DataView(signature.buffer).setUint32(0, n)
      return encodeIndexedSignature(signature, 1)
    })
    const copy = concatBytes(body, bytes(signatureGroup([encodeIndexedSignature(signatureOf(body, 2), 0), ...junk])))
    const copies = Math.floor((4 * 1024 * 1024 - first.message.length) / copy.length)
    const stream = concatBytes(first.message, ...Array.from({ length: copies }, () => copy))
    // More work than a stream of this length may ask for: answered as a whole.
    expect(checkStream(stream).messages).toMatchObject([{ verdict: 'reject:limit', code: 'KEL_LIMIT' }])
    const { messages, waiting } = checkStream(stream, { maxBytes: 16 * 1024 * 1024 })
    expect(messages).toHaveLength(copies + 1)
    expect(new Set(messages.slice(1).map(({ verdict }) => verdict))).toEqual(new Set(['escrow:partial-signature']))
    expect(waiting).toHaveLength(1)
  })

  it('unreadable messages end the check after a thousand', () => {
    const { messages } = checkStream(bytes('{"v":"KERI'.repeat(5000)))
    expect(messages).toHaveLength(1002)
    expect(messages.at(-1)).toMatchObject({ verdict: 'reject:limit', code: 'KEL_LIMIT' })
  })

  it('events out of order come out in one pass', async () => {
    const actor = await Actor.start()
    for (let n = 0; n < 900; n++) await actor.interact()
    const { states, messages } = checkStream(concatBytes(...actor.messages.toReversed()))
    expect(states[0]?.sn).toBe(900)
    expect(messages.at(-1)?.released).toHaveLength(900)
  })
})

it('a delegated event that waits comes out when its seal comes, or when the log of the delegator has grown', async () => {
  const boss = await Actor.start()
  const child = await incept({ keys: [key(30)], nextKeys: [key(31)], delegator: boss.state.prefix }, signer(30))
  const sealing = await interact(boss.state, [{ i: child.prefix, s: '0', d: child.said }], signer(0))
  const { states } = checkStream(concatBytes(child.message, ...boss.messages, sealing.message))
  expect(states.map(({ prefix }) => prefix).sort()).toEqual([boss.state.prefix, child.prefix].sort())
  const delegator = await Kel.open(memoryStore().log(boss.state.prefix), boss.state.prefix)
  const kel = await Kel.open(memoryStore().log(child.prefix), child.prefix, {
    delegator: (prefix) =>
      prefix === delegator.prefix && delegator.isStarted
        ? { state: delegator.state, eventAt: (sn) => delegator.events[sn] }
        : undefined,
  })
  expect((await kel.append(child.message)).outcome).toBe('waiting')
  for (const message of [...boss.messages, sealing.message]) await delegator.append(message)
  expect((await kel.append(child.message)).outcome).toBe('accepted')
})

it('a delegated event is refused when its delegator does not delegate, or seals another event in its place (KEL_DELEGATION)', async () => {
  const open = async (traits: readonly ('DND' | 'EO')[], sealed: 'the event' | 'another'): Promise<string> => {
    const boss = await incept({ keys: [key(40)], nextKeys: [key(41)], traits }, signer(40))
    const child = await incept({ keys: [key(30)], nextKeys: [key(31)], delegator: boss.prefix }, signer(30))
    const said = sealed === 'the event' ? child.said : boss.said
    const sealing = await interact(boss.state, [{ i: child.prefix, s: '0', d: said }], signer(40))
    const delegator = await Kel.open(memoryStore().log(boss.prefix), boss.prefix)
    for (const message of [boss.message, sealing.message]) await delegator.append(message)
    const kel = await Kel.open(memoryStore().log(child.prefix), child.prefix, {
      delegator: () => ({ state: delegator.state, eventAt: (sn) => delegator.events[sn] }),
    })
    return await kel.append(child.message).then(
      ({ outcome }) => outcome,
      (error: unknown) => (error as KelError).code,
    )
  }
  expect(await open([], 'the event')).toBe('accepted')
  expect(await open([], 'another')).toBe('waiting')
  expect(await open(['DND'], 'the event')).toBe('KEL_DELEGATION')
})
