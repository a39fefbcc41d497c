import { describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import { parseSnapshot, verifyLog, verifyLogStream, writeSnapshot } from '../src/index.ts'
import { Actor } from './support/actors.ts'
import { forge, interactionFields, rotationFields } from './support/forge.ts'
import { bytes, signifyVectors } from './support/vectors.ts'

function* cut(stream: Uint8Array, length: number): Generator<Uint8Array> {
  for (let at = 0; at < stream.length; at += length) yield stream.subarray(at, at + length)
}

describe('verifyLogStream()', () => {
  it('reaches the state of verifyLog(), wherever the stream is cut', async () => {
    for (const suite of signifyVectors().suites) {
      const stream = bytes(suite.stream)
      for (const length of [1, 7, 100, 333, 10_000]) {
        const tip = await verifyLogStream(cut(stream, length), { prefix: suite.pre })
        expect(tip).toEqual({ prefix: suite.pre, state: verifyLog(stream).state, eventCount: suite.events.length })
      }
    }
  })

  it('refuses what verifyLog() refuses', async () => {
    const actor = await Actor.start()
    await actor.interact()
    await expect(verifyLogStream(cut(actor.log.subarray(0, -1), 50))).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_CESR' }),
    )
    await expect(verifyLogStream([])).rejects.toThrow(expect.objectContaining({ code: 'KEL_SEQ' }))
    await expect(
      verifyLogStream([utf8Encode('{"v":"KERI10JSONffffff_"'), new Uint8Array(600_000).fill(65)]),
    ).rejects.toThrow(expect.objectContaining({ code: 'KEL_LIMIT' }))
  })

  it('goes on from a snapshot with the new events alone', async () => {
    for (const rotated of [false, true]) {
      const actor = await Actor.start()
      await actor.interact()
      if (rotated) await actor.rotate()
      await actor.interact()
      const snapshot = parseSnapshot(writeSnapshot(verifyLog(actor.log)))
      const before = actor.messages.length
      await actor.interact({ d: actor.state.said })
      await actor.rotate()
      await actor.interact()
      const tip = await verifyLogStream(actor.messages.slice(before), { from: snapshot })
      expect(tip).toEqual({ prefix: actor.state.prefix, state: verifyLog(actor.log).state, eventCount: 3 })
    }
  })

  it('a snapshot still knows what a rotation may supersede, and what it may not', async () => {
    const actor = await Actor.start()
    await actor.rotate()
    const base = actor.state
    await actor.interact()
    const { prefix } = actor.state
    const from = parseSnapshot(writeSnapshot(verifyLog(actor.log)))
    const recovery = forge(rotationFields(prefix, base.said, 2, 2), 2)
    expect((await verifyLogStream([recovery.message], { from })).state.said).toBe(recovery.said)
    const early = forge(rotationFields(prefix, prefix, 1, 1, { a: [{}] }), 1)
    await expect(verifyLogStream([early.message], { from })).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_SEQ' }),
    )
    const stranger = forge(interactionFields(prefix, actor.state.said, 3), 50)
    await expect(verifyLogStream([stranger.message], { from })).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_SIGNATURE' }),
    )
  })

  it('parseSnapshot() refuses what is damaged', async () => {
    const actor = await Actor.start()
    await actor.interact()
    const snapshot = writeSnapshot(verifyLog(actor.log))
    for (let at = 0; at < snapshot.length; at += 5) {
      expect(() => parseSnapshot(snapshot.subarray(0, at))).toThrow(expect.objectContaining({ code: 'KEL_CORRUPT' }))
    }
  })
})
