import { describe, expect, it } from 'vitest'
import { concatBytes } from '@keyturn/primitives'
import { formatPin, isAbandoned, Kel, memoryStore, parsePin, verifyLog } from '../src/index.ts'
import { abandon, buildRotation, incept, nextDigestOf, rotate } from '../src/owner/index.ts'
import type { InceptionPlan, RotationPlan } from '../src/owner/index.ts'
import { Actor, key, signer } from './support/actors.ts'
import { forge, inceptionFields, rotationFields } from './support/forge.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('next keys', () => {
  it.each([
    ['left out', {}],
    ['misspelled', { nextKey: [key(1)] }],
    ['empty', { nextKeys: [] }],
    ['empty digests', { nextDigests: [] }],
  ])(
    'incept() and rotate() refuse a plan where they are %s: the identity could never rotate',
    async (_what, change) => {
      await expect(incept({ keys: [key(0)], ...change } as InceptionPlan, signer(0))).rejects.toThrow(TypeError)
      const { state } = await Actor.start()
      await expect(rotate(state, { keys: [key(1)], ...change } as RotationPlan, signer(1))).rejects.toThrow(TypeError)
      expect(() => buildRotation(state, { keys: [key(1)], ...change } as RotationPlan)).toThrow(TypeError)
    },
  )

  it('an unknown member of a plan is refused: an event cannot be taken back', async () => {
    const plan = { keys: [key(0)], nextKeys: [key(1)], witnes: ['B'] } as InceptionPlan
    await expect(incept(plan, signer(0))).rejects.toThrow(/witnes/)
  })

  it('an identity without them is made by name: abandon(), prefix basic, prefix ephemeral', async () => {
    const { state } = await Actor.start()
    expect(isAbandoned((await abandon(state, { keys: [key(1)] }, signer(1))).state)).toBe(true)
    expect(isAbandoned((await incept({ keys: [key(0)], prefix: 'basic' }, signer(0))).state)).toBe(true)
    expect(isAbandoned((await incept({ keys: [key(0)], prefix: 'ephemeral' }, signer(0))).state)).toBe(true)
  })

  it('promising a key in force, the one just retired or the one just revealed is refused', async () => {
    await expect(incept({ keys: [key(0)], nextKeys: [key(0)] }, signer(0))).rejects.toThrow(code('KEL_KEY_REUSED'))
    const { state } = await Actor.start()
    for (const reused of [key(0), key(1)]) {
      const byKey = { keys: [key(1)], nextKeys: [reused] }
      await expect(rotate(state, byKey, signer(1))).rejects.toThrow(code('KEL_KEY_REUSED'))
      const byDigest = { keys: [key(1)], nextDigests: [nextDigestOf(reused)] }
      await expect(rotate(state, byDigest, signer(1))).rejects.toThrow(code('KEL_KEY_REUSED'))
    }
  })

  it('a key retired long ago is refused with the history at hand, and by Kel.append() of our own log', async () => {
    const actor = await Actor.start()
    await actor.rotate()
    await actor.rotate()
    const { state, log } = actor
    const plan = { keys: [key(3)], nextKeys: [key(0)] }
    const { events } = verifyLog(log)
    await expect(rotate(state, { ...plan, history: events }, signer(3))).rejects.toThrow(code('KEL_KEY_REUSED'))
    const { message } = await rotate(state, plan, signer(3))
    const kel = await Kel.open(memoryStore().log(state.prefix), state.prefix)
    for (const event of actor.messages) await kel.append(event, 'local')
    await expect(kel.append(message, 'local')).rejects.toThrow(code('KEL_KEY_REUSED'))
    expect(kel.state.sn).toBe(2)
  })

  it('logs of others that promise such keys are read as before', async () => {
    const first = forge(inceptionFields(0, { n: [nextDigestOf(key(0))] }), 0)
    const second = forge(rotationFields(first.said, first.said, 1, 0, { n: [nextDigestOf(key(0))] }), 0)
    const stream = concatBytes(first.message, second.message)
    expect(verifyLog(stream).state.sn).toBe(1)
    const kel = await Kel.open(memoryStore().log(first.said), first.said)
    await kel.append(first.message)
    expect((await kel.append(second.message)).outcome).toBe('accepted')
  })
})

describe('verifyLog() with a pin', () => {
  it('takes a log that contains the pinned event, also superseded, as text or parsed', async () => {
    const actor = await Actor.start()
    const base = actor.state
    const { said } = await actor.interact()
    const { prefix } = actor.state
    const pin = formatPin({ prefix, place: { sn: 1, said } })
    expect(verifyLog(actor.log, { pin }).state.sn).toBe(1)
    expect(verifyLog(actor.log, { pin: parsePin(pin) }).state.sn).toBe(1)
    expect(verifyLog(actor.log, { pin: formatPin({ prefix, place: undefined }) }).state.sn).toBe(1)
    const recovery = await rotate(base, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    expect(verifyLog(concatBytes(actor.log, recovery.message), { pin }).superseded).toHaveLength(1)
  })

  it('refuses a log of another identity, one that ends before the pin, and one with another event there', async () => {
    const actor = await Actor.start()
    const { prefix } = actor.state
    await actor.interact()
    const other = await Actor.start(10)
    expect(() => verifyLog(other.log, { pin: formatPin({ prefix, place: undefined }) })).toThrow(code('KEL_PREFIX'))
    const missing = [
      { sn: 5, said: actor.state.said },
      { sn: 1, said: prefix },
    ]
    for (const place of missing)
      expect(() => verifyLog(actor.log, { pin: { prefix, place } })).toThrow(code('KEL_PIN_MISMATCH'))
    expect(() => verifyLog(actor.log, { pin: 'did:keri:x' })).toThrow(code('KEL_PIN'))
    expect(() => verifyLog(actor.log, { pin: { prefix, place: undefined }, prefix: other.state.prefix })).toThrow(
      code('KEL_PREFIX'),
    )
  })
})
