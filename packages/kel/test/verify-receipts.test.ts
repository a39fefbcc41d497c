import { concatBytes, ed25519Sign, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { coupleGroup, signatureGroup } from '../src/cesr/attachments.ts'
import { encodeCounter } from '../src/cesr/counter.ts'
import { encodeIndexedSignature } from '../src/cesr/indexed-signature.ts'
import { encodeSequence } from '../src/cesr/matter.ts'
import { checkStream, Kel, memoryStore, verifyLog, verifyReceipts } from '../src/index.ts'
import { incept, interact } from '../src/owner/index.ts'
import { collectReceipts, localWitness, writeReceipt } from '../src/witness/index.ts'
import type { Place, VerifiedReceipt } from '../src/index.ts'
import type { SignedEvent } from '../src/owner/index.ts'
import { Actor, key, seed, signer } from './support/actors.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const short = (receipts: readonly VerifiedReceipt[]): string[] => receipts.map(({ by, outcome }) => `${by} ${outcome}`)

/** A receipt without signatures. */
function body(event: { said: string; prefix: string; sn: number }): Uint8Array {
  const bytes = writeReceipt(event, `B${'A'.repeat(43)}`, new Uint8Array(64))
  return bytes.subarray(0, utf8Decode(bytes).indexOf('-C'))
}

const indexed = (raw: Uint8Array, ...seeds: readonly number[]): string[] =>
  seeds.map((n, index) => encodeIndexedSignature(ed25519Sign(seed(n), raw), index))
const place = (prefix: string, { sn, said }: Place): string => prefix + encodeSequence(sn) + said
/** `-F`: an identity, the place of its keys, a group of signatures. */
const group = (prefix: string, keysFrom: Place, signatures: readonly string[]): Uint8Array =>
  utf8Encode(encodeCounter('F', 1) + place(prefix, keysFrom) + signatureGroup(signatures))
/** `-D`: the same with one signature. */
const quadruple = (prefix: string, keysFrom: Place, signature = ''): Uint8Array =>
  utf8Encode(encodeCounter('D', 1) + place(prefix, keysFrom) + signature)

describe('verifyReceipts()', () => {
  it("verifies an identity's receipt under the keys of the place that it names, by either group", async () => {
    const [author, reader] = [await Actor.start(), await Actor.start(40)]
    await author.interact()
    const { prefix } = reader.state
    const old = reader.state
    await reader.rotate()
    const log = verifyLog(author.log)
    const known = verifyLog(reader.log)
    const event = log.events[1]!
    const receipted = { ...event, prefix: log.prefix }
    const check = (...groups: readonly Uint8Array[]): readonly VerifiedReceipt[] =>
      verifyReceipts(concatBytes(body(receipted), ...groups), log, {
        logOf: (by) => (by === prefix ? known : undefined),
      })
    for (const [place, n] of [
      [old, 40],
      [reader.state, 41],
    ] as const) {
      expect(check(group(prefix, place, indexed(event.raw, n)))).toMatchObject([
        { prefix, by: 'identity', outcome: 'valid', keysFrom: { sn: place.sn, said: place.said } },
      ])
      expect(short(check(quadruple(prefix, place, indexed(event.raw, n)[0])))).toEqual(['identity valid'])
    }
    // Keys that came later or were gone, bytes of another event, a place that another event has, one that is not there
    // yet.
    expect(
      short(check(group(prefix, old, indexed(event.raw, 41)), group(prefix, reader.state, indexed(event.raw, 40)))),
    ).toEqual(['identity invalid', 'identity invalid'])
    expect(short(check(group(prefix, old, indexed(log.events[0]!.raw, 40))))).toEqual(['identity invalid'])
    expect(short(check(group(prefix, { sn: 0, said: reader.state.said }, indexed(event.raw, 40))))).toEqual([
      'identity invalid',
    ])
    expect(short(check(group(prefix, { sn: 2, said: reader.state.said }, indexed(event.raw, 41))))).toEqual([
      'identity unknown',
    ])
    expect(
      short(verifyReceipts(concatBytes(body(receipted), group(prefix, old, indexed(event.raw, 40))), log)),
    ).toEqual(['identity unknown'])
  })

  it('asks for the threshold of the identity, and for an event that put keys in force', async () => {
    const author = await Actor.start()
    const log = verifyLog(author.log)
    const [event] = log.events
    const many = await incept(
      { keys: [key(50), key(51), key(52)], threshold: 2, nextKeys: [key(53)] },
      signer(50, 51, 52),
    )
    const after = await interact(many.state, [], signer(50, 51, 52))
    const known = verifyLog(concatBytes(many.message, after.message))
    const check = (from: Place, ...seeds: readonly number[]): string[] =>
      short(
        verifyReceipts(
          concatBytes(body({ ...event!, prefix: log.prefix }), group(many.prefix, from, indexed(event!.raw, ...seeds))),
          log,
          { logOf: () => known },
        ),
      )
    expect(check(many.state, 50, 51)).toEqual(['identity valid'])
    expect(check(many.state, 50)).toEqual(['identity partial'])
    expect(check(many.state, 50, 60)).toEqual(['identity partial'])
    expect(check(many.state, 60)).toEqual(['identity invalid'])
    expect(check(after.state, 50, 51)).toEqual(['identity invalid'])
  })

  it('tells witnesses from watchers, and refuses what is not a key of its own', async () => {
    const [one, two] = [localWitness(signer(90), memoryStore()), localWitness(signer(91), memoryStore())]
    const event: SignedEvent = await incept(
      { keys: [key(0)], nextKeys: [key(1)], witnesses: [one.prefix], witnessThreshold: 1 },
      signer(0),
    )
    const { message } = await collectReceipts(event, [one])
    const log = verifyLog(message)
    const couple = (prefix: string, n: number): Uint8Array =>
      utf8Encode(coupleGroup([{ prefix, signature: ed25519Sign(seed(n), event.event) }]))
    const check = (...groups: readonly Uint8Array[]): string[] =>
      short(verifyReceipts(concatBytes(body({ ...event, sn: 0 }), ...groups), log))
    expect(check(couple(one.prefix, 90), couple(two.prefix, 91), couple(two.prefix, 90))).toEqual([
      'witness valid',
      'watcher valid',
      'watcher invalid',
    ])
    expect(check(couple(two.prefix.replace(/^B/, 'D'), 91))).toEqual(['watcher invalid'])
    expect(short(verifyReceipts(message, log))).toEqual(['witness valid'])
    const stranger = await Actor.start(70)
    expect(() => verifyReceipts(body({ ...event, sn: 0 }), verifyLog(stranger.log))).toThrow(code('KEL_MISFIT'))
    expect(() => verifyReceipts(body({ ...event, sn: 1 }), log)).toThrow(code('KEL_MISFIT'))
  })
})

describe('receipts by identities in a stream', () => {
  it('checkStream() accepts one whose log is in the stream, lets one wait whose log is not, refuses one that does not verify', async () => {
    const [author, reader] = [await Actor.start(), await Actor.start(40)]
    const receipt = (n: number): Uint8Array =>
      concatBytes(
        body(author.state),
        group(reader.state.prefix, reader.state, indexed(verifyLog(author.log).events[0]!.raw, n)),
      )
    const verdicts = (...parts: readonly Uint8Array[]): string | undefined =>
      checkStream(concatBytes(...parts)).messages.at(-1)?.verdict
    expect(verdicts(author.log, reader.log, receipt(40))).toBe('accept')
    expect(verdicts(author.log, receipt(40))).toBe('escrow:unverified-receipt')
    expect(verdicts(author.log, reader.log, receipt(45))).toBe('reject:signature')
  })

  it('Kel.append() says that it cannot verify one, and takes it for no witness', async () => {
    const [author, reader] = [await Actor.start(), await Actor.start(40)]
    const kel = await Kel.open(memoryStore().log(author.state.prefix), author.state.prefix)
    await kel.append(author.messages[0]!)
    const raw = verifyLog(author.log).events[0]!.raw
    const answer = await kel.append(
      concatBytes(body(author.state), group(reader.state.prefix, reader.state, indexed(raw, 40))),
    )
    expect(answer).toMatchObject({ outcome: 'waiting', accepted: [] })
    expect(answer.explanation).toContain(reader.state.prefix)
    expect(kel.witnessesOf(author.state.said).size).toBe(0)
    expect(await kel.export()).toEqual(author.log)
  })
})
