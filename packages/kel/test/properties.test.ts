import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { concatBytes } from '@keyturn/primitives'
import { checkStream, formatPin, KelError, parsePin, verifyLog } from '../src/index.ts'
import { encodeIndexedSignature, readIndexedSignature } from '../src/cesr/indexed-signature.ts'
import { encodeMatter, parseMatter } from '../src/cesr/matter.ts'
import { parseAttachments } from '../src/cesr/attachments.ts'
import { Actor } from './support/actors.ts'

async function sample(): Promise<Uint8Array> {
  const actor = await Actor.start()
  await actor.interact({ d: actor.state.said })
  await actor.rotate()
  await actor.interact()
  return actor.log
}

function outcome(stream: Uint8Array): string {
  try {
    return verifyLog(stream).state.said
  } catch (error) {
    if (error instanceof KelError) return error.code
    throw error
  }
}

describe('properties', () => {
  it('verifyLog() refuses every single flipped bit of a log', async () => {
    const log = await sample()
    const right = outcome(log)
    for (let at = 0; at < log.length; at++) {
      const damaged = new Uint8Array(log)
      damaged[at]! ^= 1 << (at % 8)
      expect(outcome(damaged)).not.toBe(right)
    }
  })

  it('verifyLog() never takes a cut log for the whole one', async () => {
    const log = await sample()
    const right = outcome(log)
    for (let length = 0; length < log.length; length++) expect(outcome(log.subarray(0, length))).not.toBe(right)
  })

  it('checkStream() answers any bytes and any damage without throwing', async () => {
    const log = await sample()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
        checkStream(noise)
      }),
      { numRuns: 300 },
    )
    fc.assert(
      fc.property(fc.nat(log.length - 1), fc.uint8Array({ maxLength: 40 }), fc.nat(60), (at, noise, cut) => {
        checkStream(concatBytes(log.subarray(0, at), noise, log.subarray(Math.min(log.length, at + cut))))
      }),
      { numRuns: 500 },
    )
  })

  it('reading inverts writing, and every other spelling is refused (row 128)', () => {
    const codes = ['A', 'B', 'D', 'E', 'F', 'G', 'H', 'I', '0A', '0B', '1AAG', '1AAJ']
    const lengths: Record<string, number> = { '0A': 16, '0B': 64, '1AAG': 24, '1AAJ': 33 }
    fc.assert(
      fc.property(
        fc.constantFrom(...codes),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        fc.nat(),
        fc.constantFrom(...'ABZaz09-_=+ '),
        (code, bytes, where, character) => {
          const raw = bytes.subarray(0, lengths[code] ?? 32)
          const text = encodeMatter(code, raw)
          expect(parseMatter(text, 'x')).toEqual({ code, raw })
          const at = code.length + (where % (text.length - code.length))
          const other = text.slice(0, at) + character + text.slice(at + 1)
          if (other === text) return
          try {
            expect(parseMatter(other, 'x').raw).not.toEqual(raw)
          } catch (error) {
            expect(error).toMatchObject({ code: 'KEL_CESR' })
          }
        },
      ),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        fc.nat(4095),
        fc.option(fc.nat(4095), { nil: undefined }),
        (signature, index, ondex) => {
          const text = encodeIndexedSignature(signature, index, ondex ?? index)
          expect(readIndexedSignature(text, 0).signature).toMatchObject({ index, ondex: ondex ?? index, signature })
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('parseAttachments() reads any text or throws KEL_CESR or KEL_LIMIT', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'-ABCDEFGHIV0123_az'), maxLength: 200 }), (text) => {
        try {
          parseAttachments(text)
        } catch (error) {
          expect(error).toBeInstanceOf(KelError)
        }
      }),
      { numRuns: 3000 },
    )
  })

  it('parsePin() inverts formatPin() and refuses everything else with KEL_PIN', async () => {
    const { state } = await Actor.start()
    const pin = { prefix: state.prefix, place: { sn: 7, said: state.said } }
    expect(parsePin(formatPin(pin))).toEqual(pin)
    expect(parsePin(formatPin({ prefix: state.prefix, place: undefined }))).toEqual({
      prefix: state.prefix,
      place: undefined,
    })
    const text = formatPin(pin)
    for (const bad of [
      '',
      text.replace('did:', 'DID:'),
      text.replace('sn=7', 'sn=07'),
      text.replace('sn=7', 'sn=0x7'),
      `${text}&x=1`,
      text.replace('&said', '&SAID'),
      text.slice(0, -1),
      ` ${text}`,
      text.replace('?', '#'),
      text.replace('keri:E', 'keri:Z'),
      text.replace('sn=7', 'sn=9999999999999999'),
    ]) {
      expect(() => parsePin(bad)).toThrow(expect.objectContaining({ code: 'KEL_PIN' }))
    }
  })
})
