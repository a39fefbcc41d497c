import { describe, expect, it } from 'vitest'
import { concatBytes, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { compareLogs, findPlace, KelError, sha256DigestSeal, verifyLog, verifyLogAsync } from '../src/index.ts'
import { abandon, attachSignatures, buildRotation, collectSignatures, interact, rotate } from '../src/owner/index.ts'
import { readFrame } from '../src/stream.ts'
import { Actor, key, signer } from './support/actors.ts'
import { forge, inceptionFields, interactionFields, rotationFields, sealed } from './support/forge.ts'
import type { Fields } from './support/forge.ts'

function codeOf(stream: Uint8Array | readonly Uint8Array[]): string {
  try {
    verifyLog(stream instanceof Uint8Array ? stream : concatBytes(...stream))
    return 'accepted'
  } catch (error) {
    if (error instanceof KelError) return error.code
    throw error
  }
}

function inception(change: Fields = {}, ...signers: readonly number[]): Uint8Array {
  return forge(inceptionFields(0, change), ...(signers.length === 0 ? [0] : signers)).message
}

const first = forge(inceptionFields(0), 0)
const prefix = first.said
/** An event without its attachments. */
const bodyOf = (message: Uint8Array): Uint8Array => readFrame(message, 0).body
const rewritten = (message: Uint8Array, from: string | RegExp, to: string): Uint8Array =>
  utf8Encode(utf8Decode(message).replace(from, to))

describe('verifyLog() refuses by the rule that was broken', () => {
  it('a first event that is not an inception, and a second inception of another identity (row 111)', () => {
    expect(codeOf(forge(rotationFields(prefix, prefix, 1, 1), 1).message)).toBe('KEL_SEQ')
    expect(codeOf([first.message, forge(inceptionFields(5), 5).message])).toBe('KEL_PREFIX')
    // Two inceptions of one identity are one and the same event: another one has another prefix.
    expect(codeOf([first.message, inception({ a: [{ d: first.said }] })])).toBe('KEL_PREFIX')
    expect(codeOf(new Uint8Array(0))).toBe('KEL_SEQ')
  })

  it('a prefix or SAID that is not the hash of the event (rows 112, 113)', () => {
    expect(codeOf(rewritten(first.message, /"d":"E(...)[^A]/, '"d":"E$1A'))).toBe('KEL_SAID')
    expect(codeOf(rewritten(first.message, '"bt":"0"', '"bt":"1"'))).toBe('KEL_SAID')
    expect(codeOf(rewritten(first.message, /"d":"(E.{43})","i":"E/, '"d":"$1","i":"B'))).toBe('KEL_SAID')
  })

  it.each([
    ['2', 'KEL_SEQ'],
    ['0', 'KEL_SEQ'],
    ['01', 'KEL_SEQ'],
    ['0x1', 'KEL_SEQ'],
    ['A', 'KEL_SEQ'],
    ['-1', 'KEL_SEQ'],
    ['10000000000000000', 'KEL_SEQ'],
    ['', 'KEL_SEQ'],
    [1, 'KEL_SCHEMA'],
  ])('a sequence number %s where 1 is expected (row 114)', (s, code) => {
    const event = forge(interactionFields(prefix, prefix, 1, { s }), 0)
    expect(codeOf([first.message, event.message])).toBe(code)
  })

  it('a wrong prior digest (row 115)', () => {
    const second = forge(interactionFields(prefix, prefix, 1), 0)
    expect(codeOf([first.message, second.message, forge(interactionFields(prefix, prefix, 2), 0).message])).toBe(
      'KEL_PREV',
    )
  })

  it('a rotation to a key that was not promised, a stolen current key included, and one signed by the old key (rows 116, 117, 118)', () => {
    expect(codeOf([first.message, forge(rotationFields(prefix, prefix, 1, 7), 7).message])).toBe('KEL_NEXT_COMMITMENT')
    expect(codeOf([first.message, forge(rotationFields(prefix, prefix, 1, 0), 0).message])).toBe('KEL_NEXT_COMMITMENT')
    expect(codeOf([first.message, forge(rotationFields(prefix, prefix, 1, 1), 0).message])).toBe('KEL_SIGNATURE')
  })

  it('an interaction that carries keys, and an event of an unknown type (row 119)', () => {
    expect(codeOf([first.message, forge(interactionFields(prefix, prefix, 1, { k: [] }), 0).message])).toBe(
      'KEL_SCHEMA',
    )
    expect(codeOf(inception({ t: 'xyz' }))).toBe('KEL_SCHEMA')
  })

  it.each([
    ['kt', '0'],
    ['kt', '2'],
    ['kt', '-1'],
    ['kt', ''],
    ['kt', []],
    ['kt', ['1/2']],
    ['kt', ['1/0']],
    ['kt', ['0.5']],
    ['kt', ['3/2']],
    ['kt', ['1/2', '1/2']],
    ['kt', 1.5],
    ['kt', null],
    ['kt', '01'],
    ['nt', '2'],
    ['nt', '0'],
  ])('a threshold %s of %j (row 121)', (field, value) => {
    expect(codeOf(inception({ [field]: value }))).toBe('KEL_THRESHOLD')
  })

  it('one signature listed twice, an index out of range, no signature (row 122)', () => {
    const two = forge(
      {
        ...inceptionFields(0),
        kt: '2',
        k: (inceptionFields(0)['k'] as string[]).concat(inceptionFields(3)['k'] as string[]),
      },
      0,
      0,
    )
    expect(codeOf(two.message)).toBe('KEL_SIGNATURE')
    expect(codeOf(rewritten(first.message, /-AABAA/, '-AABAB'))).toBe('KEL_SIGNATURE')
    expect(codeOf(rewritten(first.message, /-AAB.*$/, ''))).toBe('KEL_UNSIGNED')
  })

  it('one key twice, also in its two spellings (row 123)', () => {
    const [text = ''] = inceptionFields(0)['k'] as string[]
    expect(codeOf(inception({ k: [text, text], kt: '2' }, 0, 0))).toBe('KEL_SCHEMA')
    expect(codeOf(inception({ k: [text, `B${text.slice(1)}`], kt: '2' }, 0, 0))).toBe('KEL_SCHEMA')
  })

  it('CESR that is not spelled as it must be (rows 127, 129)', () => {
    const [digest = ''] = inceptionFields(0)['n'] as string[]
    for (const bad of [
      `Z${digest.slice(1)}`,
      digest.slice(0, 43),
      `${digest}A`,
      `Ez${digest.slice(2)}`,
      digest.replace(/[-_]|.$/, '+'),
      `${digest.slice(0, 43)}=`,
      ` ${digest.slice(1)}`,
      '',
    ]) {
      expect(codeOf(inception({ n: [bad] }))).toBe('KEL_CESR')
    }
    expect(codeOf(rewritten(first.message, /-AABAA/, '-AABZA'))).toBe('KEL_CESR')
    expect(codeOf(rewritten(first.message, /-AABAA[A-D]/, '-AABAA_'))).toBe('KEL_CESR')
    expect(codeOf(rewritten(first.message, /-AAB/, '-ZAB'))).toBe('KEL_CESR')
    expect(codeOf(rewritten(first.message, /.$/, ''))).toBe('KEL_CESR')
    expect(codeOf(concatBytes(first.message, utf8Encode('A')))).toBe('KEL_CESR')
    expect(codeOf(rewritten(first.message, /"d":"E/, '"d":"H'))).toBe('KEL_CESR')
  })

  it('a size that is not the real one, white space, a duplicate field, another order, an extra field (rows 130, 131)', () => {
    const body = utf8Decode(first.message).replace(/-AAB.*$/, '')
    const size = (text: string): string =>
      text.replace(/KERI10JSON.{6}/, `KERI10JSON${utf8Encode(text).length.toString(16).padStart(6, '0')}`)
    const signed = (text: string): Uint8Array => sealed(utf8Encode(text), 0)
    expect(codeOf(rewritten(first.message, /KERI10JSON.{6}/, 'KERI10JSON000100'))).toBe('KEL_PARSE')
    expect(codeOf(rewritten(first.message, /KERI10JSON.{6}/, 'KERI10JSONffffff'))).toBe('KEL_LIMIT')
    expect(codeOf(signed(size(body.replace('"a":[]', '"a": []'))))).toBe('KEL_PARSE')
    expect(codeOf(signed(size(body.replace('"a":[]', '"a":[],"a":[]'))))).toBe('KEL_PARSE')
    expect(codeOf(signed(size(body.replace('"c":[],"a":[]', '"a":[],"c":[]'))))).toBe('KEL_PARSE')
    expect(codeOf(inception({ x: 1 }))).toBe('KEL_PARSE')
    expect(codeOf(inception({ a: [{ ['__proto__x']: 1 }] }))).toBe('accepted')
    expect(codeOf(signed(size(body.replace('"a":[]', '"a":[{"__proto__":1}]'))))).toBe('KEL_PARSE')
    expect(codeOf(signed(size(body.replace('"a":[]', '"a":["\\ud800"]'))))).toBe('KEL_PARSE')
    expect(codeOf(signed(size(body.replace('"a":[]', `"a":${'['.repeat(40)}${']'.repeat(40)}`))))).toBe('KEL_PARSE')
    expect(codeOf(concatBytes(utf8Encode('\ufeff'), first.message))).toBe('KEL_PARSE')
  })

  it('other versions and serialisations, by name', () => {
    expect(codeOf(rewritten(first.message, 'KERI10JSON', 'KERI20JSON'))).toBe('KEL_VERSION')
    expect(codeOf(rewritten(first.message, 'KERI10JSON', 'KERI10CBOR'))).toBe('KEL_VERSION')
    expect(codeOf(rewritten(first.message, 'KERI10JSON', 'KERI10MGPK'))).toBe('KEL_VERSION')
    expect(codeOf(rewritten(first.message, /KERI10JSON.{7}/, 'KERICAACAAJSONAAFb.'))).toBe('KEL_VERSION')
  })

  it('keys of low order or of another curve (row 132)', () => {
    const low = `D${'A'.repeat(43)}`
    expect(codeOf(inception({ k: [low] }))).toBe('KEL_KEY')
    expect(codeOf(inception({ k: ['1AAJA3cK_P2CDlh-_EMFPvyqTPI1POkw-dr14DANx5JEXDCZ'] }))).toBe('KEL_KEY')
  })

  it('an event after abandonment, an interaction under EO (row 120)', async () => {
    const actor = await Actor.start()
    const end = await abandon(actor.state, { keys: [key(1)] }, signer(1))
    const after = forge(interactionFields(actor.state.prefix, end.said, 2), 1)
    expect(codeOf([actor.log, end.message])).toBe('accepted')
    expect(codeOf([actor.log, end.message, after.message])).toBe('KEL_ABANDONED')
    const only = await Actor.start(0, { traits: ['EO'] })
    expect(codeOf([only.log, forge(interactionFields(only.state.prefix, only.state.said, 1), 0).message])).toBe(
      'KEL_TRAIT',
    )
  })

  it('a log over its limit', () => {
    expect(() => verifyLog(first.message, { maxBytes: first.message.length - 1 })).toThrow(
      expect.objectContaining({ code: 'KEL_LIMIT' }),
    )
  })

  it('a log with more signatures than its length deserves, before one of them is verified', async () => {
    const junk = utf8Encode(`-ADA${'A'.repeat(88 * 192)}`)
    const message = concatBytes(bodyOf(first.message), junk)
    const many = concatBytes(...Array.from({ length: 86 }, () => message))
    // None of them verifies: were they looked at, the answer would be another.
    expect(codeOf(message)).toBe('KEL_SIGNATURE')
    expect(codeOf(many)).toBe('KEL_LIMIT')
    await expect(verifyLogAsync(many, { pause: async () => undefined })).rejects.toMatchObject({ code: 'KEL_LIMIT' })
    // One signature for every 256 bytes that the caller is ready to take, and at least 16,384.
    expect(codeOf(many.subarray(0, 80 * message.length))).toBe('KEL_SIGNATURE')
    const reading = (maxBytes: number) => () => verifyLog(many, { maxBytes })
    expect(reading(8 * 1024 * 1024)).toThrow(expect.objectContaining({ code: 'KEL_SIGNATURE' }))
    expect(reading(many.length)).toThrow(expect.objectContaining({ code: 'KEL_LIMIT' }))
    // Each signature hashes the whole event: 192 of them over 200 kB cost what 2,500 over a short one do.
    const body = bodyOf(inception({ a: [{ x: 'x'.repeat(200_000) }] }))
    const wide = concatBytes(body, junk)
    expect(codeOf(concatBytes(...Array.from({ length: 6 }, () => wide)))).toBe('KEL_SIGNATURE')
    expect(codeOf(concatBytes(...Array.from({ length: 7 }, () => wide)))).toBe('KEL_LIMIT')
    // What cannot be read is reported at its place, after what comes before it.
    const torn = concatBytes(message, utf8Encode('{x'))
    expect(codeOf(torn)).toBe('KEL_SIGNATURE')
  })

  it('the log of another identity than the one asked for', () => {
    expect(() => verifyLog(first.message, { prefix: forge(inceptionFields(5), 5).said })).toThrow(
      expect.objectContaining({ code: 'KEL_PREFIX' }),
    )
  })
})

describe('duplicity and recovery', () => {
  it('two rotations at one place: the first stays, verifyLog() says duplicity (row 124)', async () => {
    const actor = await Actor.start()
    const state = actor.state
    const rotation = await actor.rotate()
    const rival = await rotate(state, { keys: [key(1)], nextKeys: [key(9)] }, signer(1))
    expect(codeOf([actor.log, rival.message])).toBe('KEL_DUPLICITY')
    expect(verifyLog(actor.log).state.said).toBe(rotation.said)
  })

  it('a rotation supersedes interactions behind the last establishment, and nothing else (row 125)', async () => {
    const actor = await Actor.start()
    await actor.interact({ d: actor.state.said })
    const before = actor.state
    await actor.interact({ d: actor.state.said })
    await actor.interact({ d: actor.state.said })
    const recovery = await rotate(before, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    const log = verifyLog(concatBytes(actor.log, recovery.message))
    expect(log.events.map(({ type }) => type)).toEqual(['icp', 'ixn', 'rot'])
    expect(log.superseded).toHaveLength(2)
    expect(findPlace(log, log.superseded[0]!)).toBe('superseded')
    expect(findPlace(log, recovery)).toBe('accepted')
    const second = await rotate(before, { keys: [key(1)], nextKeys: [key(5)] }, signer(1))
    expect(codeOf([actor.log, recovery.message, second.message])).toBe('KEL_DUPLICITY')
    const late = await interact(before, [{ d: before.said }, { d: before.prefix }], signer(0))
    expect(codeOf([actor.log, recovery.message, late.message])).toBe('KEL_DUPLICITY')
  })

  it('compareLogs() tells same, ahead, behind and forked apart (row 126)', async () => {
    const actor = await Actor.start()
    const start = verifyLog(actor.log)
    const state = actor.state
    await actor.rotate()
    const longer = verifyLog(actor.log)
    const rival = verifyLog(
      concatBytes(
        start.events[0]!.message,
        (await rotate(state, { keys: [key(1)], nextKeys: [key(9)] }, signer(1))).message,
      ),
    )
    const stolen = verifyLog(
      concatBytes(start.events[0]!.message, (await interact(state, [{ d: state.said }], signer(0))).message),
    )
    expect(compareLogs(start, start)).toEqual({ relation: 'same' })
    expect(compareLogs(start, longer)).toEqual({ relation: 'ahead' })
    expect(compareLogs(longer, start)).toEqual({ relation: 'behind' })
    expect(compareLogs(longer, rival)).toMatchObject({ relation: 'forked', sn: 1 })
    expect(compareLogs(stolen, longer)).toEqual({ relation: 'ahead' })
    expect(compareLogs(longer, stolen)).toEqual({ relation: 'behind' })
  })
})

describe('making events', () => {
  it('rotate() asks for thresholds, keeps the witness threshold and never shrinks it silently', async () => {
    const actor = await Actor.start()
    await expect(rotate(actor.state, { keys: [key(1)], nextKeys: [key(2), key(3)] }, signer(1))).rejects.toThrow(
      TypeError,
    )
    await expect(
      rotate(actor.state, { keys: [key(1)], nextKeys: [key(2), key(2)], nextThreshold: 1 }, signer(1)),
    ).rejects.toThrow(expect.objectContaining({ code: 'KEL_SCHEMA' }))
    await expect(rotate(actor.state, { keys: [key(4)], nextKeys: [key(2)] }, signer(4))).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_NEXT_COMMITMENT' }),
    )
  })

  it('reserve rotation: two of three promised keys and a fresh one, weights and clauses', async () => {
    const actor = await Actor.start(0, { nextKeys: [key(1), key(2), key(3)], nextThreshold: ['1/2', '1/2', '1/2'] })
    const unsigned = buildRotation(actor.state, {
      keys: [key(9), key(3), key(1)],
      threshold: ['1/3', '1/3', '1/3'],
      nextKeys: [key(4)],
    })
    const signatures = await collectSignatures(unsigned.body, unsigned.event.publicKeys, signer(9, 3, 1))
    const event = attachSignatures(actor.state, unsigned, signatures)
    expect(codeOf([actor.log, event.message])).toBe('accepted')
    expect(() => attachSignatures(actor.state, unsigned, signatures.slice(0, 2))).toThrow(
      expect.objectContaining({ code: 'KEL_SIGNATURE' }),
    )
  })

  it('a seal that spells the placeholder stays as it is', async () => {
    const actor = await Actor.start(0, { seals: [{ d: '#'.repeat(44) }] })
    expect(verifyLog(actor.log).events[0]?.seals).toEqual([{ d: '#'.repeat(44) }])
  })

  it('sha256DigestSeal() is code I over the bytes', () => {
    expect(sha256DigestSeal(utf8Encode('abc'))).toEqual({ d: 'ILp4Fr-PAc_qQUFA3l2uIiOwA2Gjlhd6nLQQ_2HyABWt' })
  })
})

describe('verifyLogAsync()', () => {
  it('has the verdict of verifyLog(), and pauses in between', async () => {
    const actor = await Actor.start()
    for (let at = 0; at < 100; at++) await (at % 10 === 9 ? actor.rotate() : actor.interact())
    let pauses = 0
    const pause = async (): Promise<void> => void pauses++
    const found = await verifyLogAsync(actor.log, { pause })
    const { stateAt, witnessesOf, ...rest } = verifyLog(actor.log)
    expect(found).toMatchObject(rest)
    expect(found.stateAt(50)).toEqual(stateAt(50))
    expect(found.witnessesOf(actor.state.said)).toEqual(witnessesOf(actor.state.said))
    expect(pauses).toBeGreaterThanOrEqual(Math.floor(actor.log.length / (12 * 1024)))
    for (const broken of [actor.log.subarray(0, -1), actor.log.subarray(700), new Uint8Array(0)]) {
      const code = codeOf(broken)
      await expect(verifyLogAsync(broken, { pause })).rejects.toThrow(expect.objectContaining({ code }))
    }
    await expect(verifyLogAsync(actor.log, { pause, maxBytes: 10 })).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_LIMIT' }),
    )
  })
})
