import { describe, expect, it } from 'vitest'
import {
  base64Encode,
  concatBytes,
  ed25519Sign,
  ed25519Verify,
  hexEncode,
  sha256,
  utf8Decode,
  utf8Encode,
} from '@keyturn/primitives'
import {
  didKey,
  findSeal,
  parseDidKey,
  parseStatement,
  parseStatementEnvelope,
  sha256DigestSeal,
  statementDigest,
  STATEMENT_TYPE,
  verifyAt,
  verifyLog,
  verifyStatement,
} from '../src/index.ts'
import { rotate, signStatement } from '../src/owner/index.ts'
import type { VerifiedStatement } from '../src/index.ts'
import { Actor, key, seed, signer } from './support/actors.ts'
import { bytes, signifyVectors } from './support/vectors.ts'

const file = utf8Encode('the file')
const digest = sha256(file)

function content(purpose: 'file' | 'commit' | 'device' = 'file'): Parameters<typeof signStatement>[1] {
  return { purpose, sha256: digest, name: 'file.bin', claimedAtMs: 1_795_000_000_000 }
}

async function signed(actor: Actor): Promise<Uint8Array> {
  return await signStatement(actor.state, content(), signer(actor.current))
}

function verify(envelope: Uint8Array, actor: Actor, options = {}): VerifiedStatement {
  return verifyStatement(envelope, digest, verifyLog(actor.log), options)
}

describe('verifyStatement()', () => {
  it('is "current" while the key is in force and "claimed" once it was rotated out', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    expect(verify(envelope, actor)).toMatchObject({ position: 'current', proven: true, retiredBy: undefined })
    const rotation = await actor.rotate()
    expect(verify(envelope, actor, { allowUnproven: true })).toMatchObject({
      position: 'claimed',
      proven: false,
      retiredBy: { sn: 1, said: rotation.said },
    })
  })

  it('refuses a signature whose place nothing proves, as a thief of the retired key can make it (P5)', async () => {
    const actor = await Actor.start()
    const thief = actor.state
    await actor.rotate()
    const forged = await signStatement(thief, content(), signer(0))
    expect(() => verify(forged, actor)).toThrow(
      expect.objectContaining({
        code: 'KEL_POSITION_UNPROVEN',
        details: expect.objectContaining({ sn: 0, retiredBy: 1 }),
      }),
    )
    expect(verify(forged, actor, { allowUnproven: true })).toMatchObject({ position: 'claimed', proven: false })
  })

  it('refuses another name than the one asked for, and a digest that is not 32 bytes (P5)', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    expect(verify(envelope, actor, { name: 'file.bin' })).toMatchObject({ proven: true })
    expect(() => verify(envelope, actor, { name: 'other.bin' })).toThrow(
      expect.objectContaining({ code: 'KEL_STATEMENT' }),
    )
    for (const wrong of [digest.subarray(1), statementDigest(file).slice(2), statementDigest(file).toUpperCase(), 7])
      expect(() => verifyStatement(envelope, wrong as Uint8Array, verifyLog(actor.log))).toThrow(
        new TypeError('digest must be a SHA-256: 32 bytes, or 64 lower-case hexadecimal digits'),
      )
  })

  it('takes a digest as bytes or as statementDigest() writes it, on both sides', async () => {
    const actor = await Actor.start()
    const hex = statementDigest(file)
    const envelope = await signStatement(actor.state, { ...content(), sha256: hex }, signer(0))
    expect(verifyStatement(envelope, hex, verifyLog(actor.log))).toMatchObject({ proven: true })
    expect(verify(envelope, actor)).toMatchObject({ statement: { sha256: hex } })
    const other = statementDigest(utf8Encode('another file'))
    expect(() => verifyStatement(envelope, other, verifyLog(actor.log))).toThrow(
      expect.objectContaining({ code: 'KEL_STATEMENT' }),
    )
    const short = { ...content(), sha256: digest.subarray(1) }
    await expect(signStatement(actor.state, short, signer(0))).rejects.toThrow(TypeError)
  })

  it('is "sealed" forever when the log seals the digest while the key is in force, or in the rotation that retires it (row 143)', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    const seal = await actor.interact(sha256DigestSeal(file))
    await actor.rotate()
    await actor.rotate()
    expect(verify(envelope, actor)).toMatchObject({
      position: 'sealed',
      proven: true,
      sealedBy: { sn: 1, said: seal.said },
    })
    const other = await Actor.start(20)
    const second = await signed(other)
    await other.rotate({ seals: [sha256DigestSeal(file)] })
    await other.rotate()
    expect(verify(second, other)).toMatchObject({ position: 'sealed', sealedBy: { sn: 1 } })
  })

  it('counts the seal of the statement itself too, and no seal that came after the next rotation', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    await actor.rotate({ seals: [sha256DigestSeal(parseStatementEnvelope(envelope).payload)] })
    expect(verify(envelope, actor)).toMatchObject({ position: 'sealed' })
    const late = await Actor.start(20)
    const lateEnvelope = await signed(late)
    await late.rotate()
    await late.interact(sha256DigestSeal(file))
    expect(verify(lateEnvelope, late, { allowUnproven: true })).toMatchObject({ position: 'claimed' })
    expect(findSeal(verifyLog(late.log), 1, digest)?.sn).toBe(2)
  })

  it('is "witnessed" when witnesses signed the sealing event, "ancestor" when a descendant is sealed', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    const tip = utf8Encode('tip commit')
    await actor.rotate({ seals: [sha256DigestSeal(tip)] })
    expect(verify(envelope, actor, { descendants: [sha256(utf8Encode('other')), sha256(tip)] })).toMatchObject({
      position: 'ancestor',
      proven: true,
      sealedBy: { sn: 1 },
    })
    const sealed = await Actor.start(20)
    const second = await signed(sealed)
    await sealed.interact(sha256DigestSeal(file))
    expect(verify(second, sealed, { witnessCount: () => 2 })).toMatchObject({ position: 'witnessed' })
  })

  it('refuses other content, another purpose, another identity, a place that is not in the log', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    const log = verifyLog(actor.log)
    expect(() => verifyStatement(envelope, sha256(utf8Encode('x')), log)).toThrow(
      expect.objectContaining({ code: 'KEL_STATEMENT' }),
    )
    expect(() => verifyStatement(envelope, digest, log, { purpose: 'commit' })).toThrow(
      expect.objectContaining({ code: 'KEL_STATEMENT' }),
    )
    const other = await Actor.start(20)
    expect(() => verifyStatement(envelope, digest, verifyLog(other.log))).toThrow(
      expect.objectContaining({ code: 'KEL_PREFIX' }),
    )
    await actor.interact()
    const ahead = await signed(actor)
    expect(() => verifyStatement(ahead, digest, log)).toThrow(expect.objectContaining({ code: 'KEL_STATEMENT' }))
  })

  it('refuses a retired key that claims a later place, and a place that was superseded (row 143)', async () => {
    const actor = await Actor.start()
    const base = actor.state
    await actor.interact()
    const superseded = await signed(actor)
    const stream = concatBytes(
      actor.log,
      (await rotate(base, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))).message,
    )
    expect(() => verifyStatement(superseded, digest, verifyLog(stream))).toThrow(
      expect.objectContaining({ code: 'KEL_SUPERSEDED_KEY' }),
    )
    const log = verifyLog(stream)
    const payload = utf8Encode(
      utf8Decode(parseStatementEnvelope(superseded).payload).replace(/"said":"[^"]*"/, `"said":"${log.state.said}"`),
    )
    const forged = envelopeOf(payload, 0)
    expect(() => verifyStatement(forged, digest, log)).toThrow(expect.objectContaining({ code: 'KEL_SUPERSEDED_KEY' }))
    expect(() => verifyStatement(envelopeOf(payload, 66), digest, log)).toThrow(
      expect.objectContaining({ code: 'KEL_SIGNATURE' }),
    )
  })

  it('refuses each flipped bit of payload and signature', async () => {
    const actor = await Actor.start()
    const envelope = await signed(actor)
    for (let at = 0; at < envelope.length; at += 3) {
      const damaged = new Uint8Array(envelope)
      damaged[at]! ^= 1 << (at % 7)
      expect(() => {
        const { statement } = verify(damaged, actor)
        // White space of the envelope is the one thing that may differ; the statement may not.
        if (statement.sha256 === hexEncode(digest)) throw new Error('unchanged')
      }).toThrow()
    }
  })

  it('signStatement() refuses a signer without the keys in force', async () => {
    const actor = await Actor.start()
    await expect(signStatement(actor.state, content(), signer(9))).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_SIGNATURE' }),
    )
  })
})

function envelopeOf(payload: Uint8Array, n: number): Uint8Array {
  const pae = concatBytes(utf8Encode(`DSSEv1 ${STATEMENT_TYPE.length} ${STATEMENT_TYPE} ${payload.length} `), payload)
  return utf8Encode(
    JSON.stringify({
      payloadType: STATEMENT_TYPE,
      payload: base64Encode(payload),
      signatures: [{ keyid: hexEncode(key(n)), sig: base64Encode(ed25519Sign(seed(n), pae)) }],
    }),
  )
}

describe('no file can pass for something else', () => {
  const suite = signifyVectors().suites[0]!
  const files: readonly (readonly [string, Uint8Array])[] = [
    ['an event', bytes(suite.events[1]!.raw)],
    ['a whole log', bytes(suite.stream)],
    ['a manifest', utf8Encode('{\n  "version": "1",\n  "files": []\n}\n')],
    ['a head', utf8Encode('{"type":"keyturn.head","schema":1,"product":"x","channel":"stable"}')],
    ['a role document', utf8Encode('{"type":"keyturn.roles","schema":1}')],
    ['a key record', utf8Encode('v=1;k=abc;ts=1;sig=def')],
    ['a statement', utf8Encode('{"type":"keyturn.statement","schema":1}')],
    ['bytes that spell a signature input', utf8Encode(`DSSEv1 ${STATEMENT_TYPE.length} ${STATEMENT_TYPE} 2 {}`)],
  ]

  it.each(files)(
    'the signature on %s is not a signature over its bytes, nor over them as a release document',
    async (_name, bytesToSign) => {
      const actor = await Actor.start()
      const envelope = await signStatement(
        actor.state,
        { purpose: 'file', sha256: sha256(bytesToSign), claimedAtMs: 0 },
        signer(0),
      )
      const { signatures, payload } = parseStatementEnvelope(envelope)
      const { signature } = signatures[0]!
      expect(ed25519Verify(key(0), bytesToSign, signature)).toBe(false)
      for (const type of ['application/vnd.keyturn.manifest+json', 'application/vnd.keyturn.head+json']) {
        for (const body of [bytesToSign, payload]) {
          const pae = concatBytes(utf8Encode(`DSSEv1 ${type.length} ${type} ${body.length} `), body)
          expect(ed25519Verify(key(0), pae, signature)).toBe(false)
        }
      }
      expect(ed25519Verify(key(0), payload, signature)).toBe(false)
      expect(verifyStatement(envelope, sha256(bytesToSign), verifyLog(actor.log)).proven).toBe(true)
    },
  )

  it('a signature on an event is not a statement about it', async () => {
    const actor = await Actor.start()
    const log = verifyLog(actor.log)
    const { raw } = log.events[0]!
    const signature = ed25519Sign(seed(0), raw)
    expect(verifyAt(log, raw, signature, { sn: 0, said: log.state.said })).toBe(true)
    const payload = parseStatementEnvelope(await signed(actor)).payload
    const borrowed = utf8Encode(
      JSON.stringify({
        payloadType: STATEMENT_TYPE,
        payload: base64Encode(payload),
        signatures: [{ keyid: hexEncode(key(0)), sig: base64Encode(signature) }],
      }),
    )
    expect(() => verifyStatement(borrowed, digest, log)).toThrow(expect.objectContaining({ code: 'KEL_SIGNATURE' }))
  })
})

describe('parseStatement()', () => {
  it.each([['{}'], ['[]'], ['{"type":"keyturn.statement","schema":2}'], ['x'], ['null']])('refuses %s', (text) => {
    expect(() => parseStatement(utf8Encode(text))).toThrow(expect.objectContaining({ code: 'KEL_STATEMENT' }))
  })

  it('refuses missing, malformed and unknown fields', async () => {
    const actor = await Actor.start()
    const text = utf8Decode(parseStatementEnvelope(await signed(actor)).payload)
    for (const [from, to] of [
      ['"file"', '"event"'],
      ['"sn":0', '"sn":-1'],
      ['"sn":0', '"sn":"0"'],
      ['"sn":0', '"sn":0,"sn":0'],
      ['"name":"file.bin"', '"name":1'],
      ['"schema":1', '"schema":1,"x":1'],
      ['"sha256":"', '"sha256":"Z'],
      ['Z"}', '"}'],
    ] as const) {
      expect(text).toContain(from)
      expect(() => parseStatement(utf8Encode(text.replace(from, to)))).toThrow(
        expect.objectContaining({ code: 'KEL_STATEMENT' }),
      )
    }
  })
})

describe('didKey()', () => {
  it('is inverted by parseDidKey(), in one spelling', () => {
    for (let n = 0; n < 50; n++) {
      const did = didKey(key(n))
      expect(did).toMatch(/^did:key:z6Mk/)
      expect(parseDidKey(did)).toEqual(key(n))
      expect(() => parseDidKey(did.replace('z6Mk', 'z16Mk'))).toThrow(expect.objectContaining({ code: 'KEL_PIN' }))
    }
    for (const bad of ['', 'did:key:', 'did:key:z', 'did:key:z0OIl', 'did:keri:x', `did:key:z${'1'.repeat(90)}`]) {
      expect(() => parseDidKey(bad)).toThrow(expect.objectContaining({ code: 'KEL_PIN' }))
    }
    expect(
      didKey(new Uint8Array(Buffer.from('2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6', 'hex'))),
    ).toBe('did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK')
  })
})
