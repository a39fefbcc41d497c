import { describe, expect, it } from 'vitest'
import { hexDecode, hexEncode } from '@keyturn/primitives'
import { encodeCounter, readCounter } from '../src/cesr/counter.ts'
import {
  encodeCurrentOnlySignature,
  encodeIndexedSignature,
  readIndexedSignature,
} from '../src/cesr/indexed-signature.ts'
import { decodeSequence, encodeMatter, encodeSequence, parseMatter } from '../src/cesr/matter.ts'
import { parseAttachments } from '../src/cesr/attachments.ts'
import { digestText, KelError, keyText, verifyLog } from '../src/index.ts'
import { nextDigestOf } from '../src/owner/index.ts'
import { parseMessage } from '../src/message.ts'
import { checkSaid } from '../src/said.ts'
import { readFrame } from '../src/stream.ts'
import { noThresholdLeniency, parseThreshold } from '../src/threshold.ts'
import { defaultWitnessThreshold } from '../src/witness/witness-threshold.ts'
import { bytes, haveVectors, keripyVectors } from './support/vectors.ts'
import type { KeripyEvent } from './support/vectors.ts'

function codeOf(event: KeripyEvent): string {
  try {
    parseMessage(readFrame(bytes(event.raw), 0))
    return 'ok'
  } catch (error) {
    if (error instanceof KelError) return error.code
    throw error
  }
}

describe.skipIf(!haveVectors)('events of keripy', () => {
  const vectors = haveVectors ? keripyVectors() : undefined
  const events = vectors?.events ?? []
  const v1 = events.filter(({ version }) => version === 1)

  it('are 227: 173 of version 1, 54 of version 2', () => {
    expect(events).toHaveLength(227)
    expect(v1).toHaveLength(173)
    expect(events.filter((event) => event.version === 2 && codeOf(event) === 'KEL_VERSION')).toHaveLength(54)
  })

  it('checkSaid() agrees on each of the 136 version 1 events that have one', () => {
    const hashed = v1.filter(({ said_checked }) => said_checked === true)
    expect(hashed).toHaveLength(136)
    for (const event of hashed) {
      const { i } = JSON.parse(event.raw) as { i: string }
      checkSaid(bytes(event.raw), event.said, event.ilk === 'icp' || event.ilk === 'dip' ? i : undefined)
    }
  })

  it('parseEvent() reads the Ed25519 ones; the others are of another curve or skeletons without keys', () => {
    const counts: Record<string, number> = {}
    for (const event of v1) counts[codeOf(event)] = (counts[codeOf(event)] ?? 0) + 1
    expect(counts).toEqual({ ok: 142, KEL_KEY: 20, KEL_SCHEMA: 5, KEL_CESR: 6 })
  })

  it('parseAttachments() reads the groups of the version 1 table and names the ones of version 2', () => {
    const counts = { ok: 0, refused: 0 }
    for (const { attachments, source } of v1) {
      if (attachments === null) continue
      try {
        parseAttachments(attachments)
        counts.ok++
      } catch (error) {
        expect(error).toBeInstanceOf(KelError)
        expect(source).toMatch(/^keripy main .*messagize/)
        counts.refused++
      }
    }
    expect(counts).toEqual({ ok: 89, refused: 25 })
  })

  it('primitives are spelled as keripy spells them', () => {
    const { matter, indexer, counter_v1, seqner, salts } = vectors!.primitives
    for (const { code, raw_hex, qb64 } of matter) {
      expect(encodeMatter(code, hexDecode(raw_hex))).toBe(qb64)
      expect(hexEncode(parseMatter(qb64, 'test').raw)).toBe(raw_hex)
    }
    for (const { code, index, ondex_given, qb64, ondex, raw_hex } of indexer) {
      const read = readIndexedSignature(qb64, 0)
      expect(read).toMatchObject({ end: qb64.length, signature: { code, index } })
      expect(hexEncode(read.signature.signature)).toBe(raw_hex)
      if (!['A', 'B', '2A', '2B'].includes(code)) continue
      expect(read.signature.ondex).toBe(ondex ?? undefined)
      const signature = hexDecode(raw_hex)
      expect(
        code.endsWith('B')
          ? encodeCurrentOnlySignature(signature, index)
          : encodeIndexedSignature(signature, index, ondex_given ?? index),
      ).toBe(qb64)
    }
    for (const { code, count, qb64 } of counter_v1) {
      expect(encodeCounter(code.slice(1), count)).toBe(qb64)
      expect(readCounter(qb64, 0)).toMatchObject({ count, end: 4 })
    }
    for (const { sn, qb64 } of seqner.filter((entry) => Number.isSafeInteger(entry.sn))) {
      expect(encodeSequence(sn)).toBe(qb64)
      expect(decodeSequence(parseMatter(qb64, 'test'))).toBe(sn)
    }
    for (const salt of salts) {
      const publicKey = hexDecode(salt.public_hex)
      expect(keyText(publicKey)).toBe(salt.public_D)
      expect(keyText(publicKey, false)).toBe(salt.public_B)
      expect(nextDigestOf(publicKey)).toBe(salt.next_digest_of_D)
      expect(digestText(publicKey)).toBe(salt.wrong_digest_over_raw)
      expect(nextDigestOf(publicKey)).not.toBe(salt.wrong_digest_over_raw)
    }
  })

  it('thresholds are met by exactly the sets that keripy says', () => {
    for (const { sith, keys, minimal_satisfying } of vectors!.primitives.tholder) {
      const threshold = parseThreshold(sith, keys, 'kt', noThresholdLeniency)
      for (const set of minimal_satisfying) expect(threshold.met(new Set(set))).toBe(true)
      if (minimal_satisfying.length >= 60) continue // the list in the file is cut there
      for (let mask = 0; mask < 2 ** keys; mask++) {
        const places = new Set(Array.from({ length: keys }, (_, i) => i).filter((i) => mask & (1 << i)))
        const expected = minimal_satisfying.some((set) => set.every((place) => places.has(place)))
        expect(threshold.met(places)).toBe(expected)
      }
    }
    for (const { sith, accepted } of vectors!.primitives.tholder_bad) {
      const count = Array.isArray(sith) ? sith.flat().length : 3
      if (accepted) expect(() => parseThreshold(sith, count, 'kt', noThresholdLeniency)).not.toThrow()
      else expect(() => parseThreshold(sith, count, 'kt', noThresholdLeniency)).toThrow(KelError)
    }
    for (const { n, toad } of vectors!.primitives.ample) expect(defaultWitnessThreshold(n)).toBe(toad)
  })

  it('verifyLog() verifies the delegation and the device removal that auths keeps as fixtures', () => {
    const fixtures = vectors!.auths_keripy_fixtures
    const part = (name: string): string => fixtures[name] ?? ''
    const removal = verifyLog(
      bytes(
        part('rot_remove.icp.json') +
          part('rot_remove.icp.att') +
          part('rot_remove.rot.json') +
          part('rot_remove.rot.att'),
      ),
    )
    expect(removal.state).toMatchObject({ sn: 1, type: 'rot' })
    expect(removal.state.keys).toHaveLength(2)
  })
})
