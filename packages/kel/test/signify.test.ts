import { beforeAll, describe, expect, it } from 'vitest'
import fc from 'fast-check'
import * as signify from 'signify-ts'
import { concatBytes, utf8Decode } from '@keyturn/primitives'
import { signatureGroup, witnessGroup } from '../src/cesr/attachments.ts'
import { encodeIndexedSignature, readIndexedSignature } from '../src/cesr/indexed-signature.ts'
import { keyText, verifyLog } from '../src/index.ts'
import {
  buildInception,
  buildInteraction,
  buildRotation,
  incept,
  interact,
  nextDigestOf,
  rotate,
} from '../src/owner/index.ts'
import type { KeyState } from '../src/index.ts'
import type { SignedEvent } from '../src/owner/index.ts'
import { key, seed, signer } from './support/actors.ts'
import { bytes } from './support/vectors.ts'

beforeAll(async () => {
  await signify.ready()
})

function theirSigner(n: number, transferable = true): signify.Signer {
  return new signify.Signer({ raw: seed(n), transferable })
}

function theirDigest(n: number): string {
  const digest = new signify.Diger({ code: signify.MtrDex.Blake3_256 }, theirSigner(n).verfer.qb64b).qb64
  expect(digest).toBe(nextDigestOf(key(n)))
  return digest
}

/** Signature by their key `n` at a place, as text. */
function theirSignature(raw: string, n: number, index: number): string {
  return (theirSigner(n).sign(bytes(raw), index) as signify.Siger).qb64
}

interface Plan {
  readonly keyCount: number
  readonly steps: readonly ('ixn' | 'rot')[]
  readonly witnessCount: number
}

const plans = fc.record({
  keyCount: fc.integer({ min: 1, max: 4 }),
  steps: fc.array(fc.constantFrom<'ixn' | 'rot'>('ixn', 'rot'), { maxLength: 6 }),
  witnessCount: fc.integer({ min: 0, max: 3 }),
})

/** Keys of generation `g`: `count` test keys from 10 g on. */
function generation(g: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => 10 * g + i)
}

const threshold = (count: number): number => Math.ceil(count / 2)

/** A log as signify makes it, with the groups that signify cannot write put behind it. */
function theirLog({ keyCount, steps, witnessCount }: Plan): string[] {
  const witnesses = Array.from({ length: witnessCount }, (_, i) => 900 + i)
  const attach = (raw: string, keys: readonly number[]): string =>
    raw +
    signatureGroup(keys.slice(0, threshold(keyCount)).map((n, index) => theirSignature(raw, n, index))) +
    witnessGroup(witnesses.slice(0, threshold(witnessCount)).map((n, index) => theirSignature(raw, n, index)))
  const first = signify.incept({
    keys: generation(0, keyCount).map((n) => theirSigner(n).verfer.qb64),
    isith: threshold(keyCount).toString(16),
    ndigs: generation(1, keyCount).map(theirDigest),
    nsith: threshold(keyCount).toString(16),
    code: signify.MtrDex.Blake3_256,
    wits: witnesses.map((n) => theirSigner(n, false).verfer.qb64),
    toad: threshold(witnessCount).toString(16),
  })
  const log = [attach(first.raw, generation(0, keyCount))]
  let last = first
  let g = 0
  steps.forEach((step, at) => {
    const common = { pre: first.pre, dig: last.sad['d'] as string, sn: at + 1 }
    if (step === 'rot') g++
    last =
      step === 'ixn'
        ? signify.interact({ ...common, data: [{ d: last.sad['d'] as string }], version: undefined, kind: undefined })
        : signify.rotate({
            ...common,
            keys: generation(g, keyCount).map((n) => theirSigner(n).verfer.qb64),
            isith: threshold(keyCount).toString(16),
            ndigs: generation(g + 1, keyCount).map(theirDigest),
            nsith: threshold(keyCount).toString(16),
            wits: witnesses.map((n) => theirSigner(n, false).verfer.qb64),
            toad: threshold(witnessCount),
            cuts: [],
            adds: [],
            data: [],
          })
    log.push(attach(last.raw, generation(g, keyCount)))
  })
  return log
}

/** The same log as ours, unsigned bodies. */
function ourBodies({ keyCount, steps, witnessCount }: Plan): string[] {
  const at = (g: number): Uint8Array[] => generation(g, keyCount).map(key)
  const first = buildInception({
    keys: at(0),
    threshold: threshold(keyCount),
    nextKeys: at(1),
    nextThreshold: threshold(keyCount),
    witnesses: Array.from({ length: witnessCount }, (_, i) => keyText(key(900 + i), false)),
    witnessThreshold: threshold(witnessCount),
  })
  const bodies = [utf8Decode(first.body)]
  let { said } = first.event
  let state = { ...verifyLogState(first.event.prefix, said, first.event), sn: 0 }
  let g = 0
  steps.forEach((step) => {
    if (step === 'rot') g++
    const made =
      step === 'ixn'
        ? buildInteraction(state, [{ d: said }])
        : buildRotation(state, {
            keys: at(g),
            threshold: threshold(keyCount),
            nextKeys: at(g + 1),
            nextThreshold: threshold(keyCount),
          })
    said = made.event.said
    state = { ...state, sn: state.sn + 1, said }
    bodies.push(utf8Decode(made.body))
  })
  return bodies
}

function verifyLogState(prefix: string, said: string, event: ReturnType<typeof buildInception>['event']): KeyState {
  return { ...event, prefix, said, sn: 0, type: 'icp', lastEstablishment: { sn: 0, said }, delegator: undefined }
}

/** How many random logs each way; a campaign makes more. */
const RUNS = Number(process.env['KEL_SIGNIFY_RUNS'] ?? 60)

/** A log of our making by a plan; every other one has weights. */
async function ourLog({ keyCount, steps, witnessCount }: Plan): Promise<SignedEvent[]> {
  const isWeighted = witnessCount % 2 === 1 && keyCount > 1
  const needed = isWeighted ? Array.from({ length: keyCount }, () => '1/2') : threshold(keyCount)
  const keysOf = (g: number): Uint8Array[] => generation(g, keyCount).map(key)
  const signerOf = (g: number): ReturnType<typeof signer> => signer(...generation(g, keyCount))
  const plan = (g: number) => ({
    keys: keysOf(g),
    threshold: needed,
    nextKeys: keysOf(g + 1),
    nextThreshold: needed,
  })
  let at = 0
  const events = [await incept(plan(at), signerOf(at))]
  for (const step of steps) {
    const { state } = events.at(-1) as SignedEvent
    if (step === 'rot') at += 1
    events.push(
      step === 'ixn'
        ? await interact(state, [{ d: state.said }], signerOf(at))
        : await rotate(state, plan(at), signerOf(at)),
    )
  }
  return events
}

/** Whether we accept a log of ours, and signify finds the same in each of its events. */
function theyAgree(events: readonly SignedEvent[]): void {
  verifyLog(concatBytes(...events.map(({ message }) => message)))
  for (const { event, message, state } of events) {
    const sad = JSON.parse(utf8Decode(event)) as Record<string, unknown>
    const saider = new signify.Saider({ qb64: sad['d'] as string })
    if (sad['t'] !== 'icp') expect(saider.verify(sad, false, false, undefined, 'd')).toBe(true)
    expect(new signify.Serder(sad).raw).toBe(utf8Decode(event))
    const attached = utf8Decode(message.subarray(event.length))
    let at = 4
    while (at < attached.length) {
      const { signature, end } = readIndexedSignature(attached, at)
      const siger = new signify.Siger({ qb64: attached.slice(at, end) })
      expect({ index: siger.index, raw: new Uint8Array(siger.raw) }).toEqual({
        index: signature.index,
        raw: signature.signature,
      })
      expect(new signify.Verfer({ qb64: state.keys[signature.index] ?? '' }).verify(siger.raw, event)).toBe(true)
      at = end
    }
  }
}

describe('signify-ts', () => {
  it('verifyLog() accepts logs of its making, with random keys, thresholds and witnesses', () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const log = verifyLog(bytes(theirLog(plan).join('')))
        expect(log.events).toHaveLength(plan.steps.length + 1)
      }),
      { numRuns: RUNS },
    )
  })

  it('bodies are byte-equal for the same input; its rotations write a witness threshold above 0 as a number', () => {
    fc.assert(
      fc.property(plans, (plan) => {
        // A number in bt changes the SAID and with it all that follows, so such logs are compared up to the first
        // rotation.
        const theirs = theirLog(plan).map((message) => message.replace(/\}-A.*$/, '}'))
        const ours = ourBodies(plan)
        const end =
          plan.witnessCount === 0 ? plan.steps.length + 1 : plan.steps.indexOf('rot') + 1 || plan.steps.length + 1
        expect(ours.slice(0, end)).toEqual(theirs.slice(0, end))
      }),
      { numRuns: 60 },
    )
  })

  it('verifies what we sign, body by body and signature by signature', async () => {
    const events: SignedEvent[] = [
      await incept(
        { keys: [key(0)], nextKeys: [key(1)], traits: ['DND'], seals: [{ d: nextDigestOf(key(5)) }] },
        signer(0),
      ),
    ]
    const push = (event: SignedEvent): void => void events.push(event)
    const last = (): SignedEvent => events.at(-1)!
    push(await interact(last().state, [{ d: last().said }], signer(0)))
    push(await rotate(last().state, { keys: [key(1)], nextKeys: [key(2), key(3)], nextThreshold: 1 }, signer(1)))
    push(
      await rotate(
        last().state,
        { keys: [key(3), key(8)], threshold: ['1/2', '1/2'], nextKeys: [key(4)] },
        signer(3, 8),
      ),
    )
    theyAgree(events)
  })

  it('agrees on random logs of ours: every SAID, every body, every signature', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        theyAgree(await ourLog(plan))
      }),
      { numRuns: RUNS },
    )
  })

  it('spells indexed signatures as we do', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat(63), (raw, index) => {
        expect(encodeIndexedSignature(raw, index)).toBe(new signify.Siger({ raw, code: 'A', index, ondex: index }).qb64)
      }),
      { numRuns: 100 },
    )
  })
})
