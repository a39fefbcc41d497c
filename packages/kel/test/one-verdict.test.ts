import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { concatBytes } from '@keyturn/primitives'
import { checkStream, Kel, KelError, memoryStore, verifyLog } from '../src/index.ts'
import { incept, interact, rotate } from '../src/owner/index.ts'
import { localWitness } from '../src/witness/index.ts'
import type { KeyState } from '../src/index.ts'
import { wholeLength } from '../src/replay.ts'
import { readFrames } from '../src/stream.ts'
import { Actor, key, signer } from './support/actors.ts'
import { forge, interactionFields, rotationFields } from './support/forge.ts'
import { bytes, signifyVectors } from './support/vectors.ts'

/** What a reader makes of a stream: where the log ends and the order in which it got there, or why it is refused. */
type Reading = { readonly code: string } | { readonly state: unknown; readonly firstSeen: readonly string[] }

function byVerifyLog(stream: Uint8Array, prefix: string): Reading {
  try {
    const { state, events, superseded } = verifyLog(stream, { prefix })
    return { state: plain(state), firstSeen: [...events, ...superseded].map(({ said }) => said).sort() }
  } catch (error) {
    if (error instanceof KelError) return { code: error.code }
    throw error
  }
}

function byCheckStream(stream: Uint8Array, prefix: string): Reading {
  const { messages, states, firstSeen, waiting } = checkStream(stream)
  // A receipt that counts nothing is answered here and passed over by the others; one that cannot be read is not.
  const refused = messages.find(
    ({ verdict, type, code }) =>
      (verdict.startsWith('reject') && !(type === 'rct' && (code === 'KEL_SIGNATURE' || code === 'KEL_WITNESS'))) ||
      verdict === 'duplicity',
  )
  if (refused !== undefined) return { code: refused.code ?? 'KEL_DUPLICITY' }
  if (waiting.length > 0) return { code: 'waiting' }
  const state = states.find((one) => one.prefix === prefix)
  return state === undefined
    ? { code: 'KEL_SEQ' }
    : { state: plain(state), firstSeen: [...(firstSeen.get(prefix) ?? [])].sort() }
}

/** A store that already holds a stream. */
async function byOpening(stream: Uint8Array, prefix: string): Promise<Reading & { readonly recovered?: boolean }> {
  const storage = { ...memoryStore().log(prefix), read: async () => ({ stream, version: '1' }) }
  try {
    const kel = await Kel.open(storage as never, prefix)
    if (!kel.isStarted) return { code: 'KEL_SEQ' }
    return {
      state: plain(kel.state),
      firstSeen: [...kel.firstSeen].sort(),
      recovered: kel.warnings.some((warning) => warning.includes('KEL_RECOVERED')),
    }
  } catch (error) {
    if (!(error instanceof KelError)) throw error
    return { code: error.code === 'KEL_CORRUPT' ? String(error.details['code']) : error.code }
  }
}

const plain = ({ prefix, sn, said, keys, witnesses }: KeyState): unknown => ({
  prefix,
  sn,
  said,
  keys,
  witnesses,
})

async function expectOneVerdict(stream: Uint8Array, prefix: string): Promise<string> {
  const log = byVerifyLog(stream, prefix)
  const checked = byCheckStream(stream, prefix)
  const opened = await byOpening(stream, prefix)
  const isRefused = 'code' in log
  if (!('code' in checked)) expect(log).toEqual(checked)
  else expect(isRefused).toBe(true)
  if ('recovered' in opened && opened.recovered === true) {
    // The one difference: a file that a crash cut short opens up to the cut, and says so.
    expect(isRefused).toBe(true)
    const { recovered: _, ...reading } = opened
    const messages = [...readFrames(stream.subarray(0, wholeLength(stream)))].map((frame) => frame.bytes)
    const whole = [messages, messages.slice(0, -1)].map((part) => byVerifyLog(concatBytes(...part), prefix))
    expect(whole).toContainEqual(reading)
    return 'recovered'
  }
  if ('code' in opened) {
    expect(isRefused).toBe(true)
    // Of a torn end Kel.open() reports what else is wrong, since the end alone would be recovered.
    const isTorn = 'code' in log && ['KEL_PARSE', 'KEL_CESR', 'KEL_UNSIGNED'].includes(log.code)
    if (!isTorn) expect(opened).toEqual(log)
  } else expect({ state: opened.state, firstSeen: opened.firstSeen }).toEqual(log)
  return isRefused ? 'refused' : 'accepted'
}

/** Messages of one identity each: all kinds of events, partial copies, rivals, receipts, repeats. */
async function library(): Promise<readonly { readonly prefix: string; readonly messages: readonly Uint8Array[] }[]> {
  const made: { prefix: string; messages: readonly Uint8Array[] }[] = []
  const actor = await Actor.start()
  const { prefix } = actor.state
  await actor.interact()
  const base = actor.state
  await actor.interact({ d: prefix })
  const recovery = await rotate(base, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
  const after = await interact(recovery.state, [], signer(1))
  const rival = forge(interactionFields(prefix, base.said, 2, { a: [{ x: 1 }] }), 0)
  made.push({ prefix, messages: [...actor.messages, recovery.message, after.message] })
  made.push({ prefix, messages: [...actor.messages, rival.message] })
  made.push({ prefix, messages: [...actor.messages, forge(rotationFields(prefix, base.said, 2, 7), 7).message] })

  const two = await incept(
    { keys: [key(0), key(1)], threshold: 2, nextKeys: [key(2), key(3)], nextThreshold: 2 },
    signer(0, 1),
  )
  const turned = await rotate(two.state, { keys: [key(2), key(3)], threshold: 2, nextKeys: [key(4)] }, signer(2, 3))
  const attachments = turned.message.subarray(turned.event.length)
  const half = (at: number): Uint8Array =>
    concatBytes(turned.event, bytes('-AAB'), attachments.subarray(4 + 88 * at, 92 + 88 * at))
  made.push({ prefix: two.prefix, messages: [two.message, half(0), turned.message] })
  made.push({ prefix: two.prefix, messages: [two.message, half(0), half(1)] })
  made.push({ prefix: two.prefix, messages: [two.message, half(1)] })

  const witness = localWitness(signer(90), memoryStore())
  const witnessed = await incept(
    { keys: [key(0)], nextKeys: [key(1)], witnesses: [witness.prefix], witnessThreshold: 1 },
    signer(0),
  )
  const receipt = (await witness.submit(witnessed.message)) as Uint8Array
  made.push({ prefix: witnessed.prefix, messages: [witnessed.message, receipt] })
  made.push({ prefix: witnessed.prefix, messages: [witnessed.message] })
  for (const { pre, events } of signifyVectors().suites)
    made.push({ prefix: pre, messages: events.map(({ message }) => bytes(message)) })
  for (const { stream } of signifyVectors().bad) {
    // checkStream() reads several identities at once, the others one: so only messages of the first one.
    const identityOf = (text: string): string | undefined => /"i":"([A-Za-z0-9_-]{44})"/.exec(text)?.[1]
    const first = identityOf(stream[0] ?? '')
    if (first === undefined) continue
    made.push({ prefix: first, messages: stream.filter((text) => identityOf(text) === first).map(bytes) })
  }
  return made
}

describe('verifyLog(), Kel.open() and checkStream()', () => {
  it('have one verdict for each of the streams, cut anywhere and in any order (keys §4.3)', async () => {
    const logs = await library()
    const counts: Record<string, number> = {}
    const take = async (stream: Uint8Array, prefix: string): Promise<void> => {
      const verdict = await expectOneVerdict(stream, prefix)
      counts[verdict] = (counts[verdict] ?? 0) + 1
    }
    for (const { prefix, messages } of logs) await take(concatBytes(...messages), prefix)
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...logs),
        fc.array(fc.nat(1000), { minLength: 1, maxLength: 8 }),
        fc.option(fc.nat(10_000)),
        async ({ prefix, messages }, order, cut) => {
          // Any selection in any order, some twice; or all of them shuffled.
          const chosen = order.map((at) => messages[at % messages.length] as Uint8Array)
          const shuffled = messages.toSorted((a, b) => ((a.length * 31 + (order[0] ?? 0)) % 7) - ((b.length * 17) % 7))
          for (const list of [chosen, shuffled]) {
            const stream = concatBytes(...list)
            await take(cut === null ? stream : stream.subarray(0, cut % (stream.length + 1)), prefix)
          }
        },
      ),
      { numRuns: 400 },
    )
    // The property says something only if all outcomes occur.
    for (const verdict of ['accepted', 'refused', 'recovered']) expect(counts[verdict]).toBeGreaterThan(5)
  }, 120_000)

  it("a witness's own store opens without the witness option", async () => {
    const store = memoryStore()
    const witness = localWitness(signer(90), store)
    const event = await incept(
      { keys: [key(0)], nextKeys: [key(1)], witnesses: [witness.prefix], witnessThreshold: 1 },
      signer(0),
    )
    await witness.submit(event.message)
    const kel = await Kel.open(store.log(event.prefix), event.prefix)
    expect(kel.state.sn).toBe(0)
    expect(verifyLog(await kel.export()).state.said).toBe(event.said)
  })
})
