import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { parseCompactJson } from '../src/json.ts'
import { bytes } from './support/vectors.ts'

const said = fc.string({ unit: fc.constantFrom(...'ABCDEFzyx019-_'), minLength: 44, maxLength: 44 })

describe('parseCompactJson()', () => {
  it('takes the short way for plain interactions to the same result as the general one', () => {
    const text = fc
      .record({
        d: said,
        i: said,
        s: fc.constantFrom('0', '1', 'ff'),
        p: said,
        a: fc.array(fc.record({ d: said }), { maxLength: 4 }),
      })
      .map((fields) => JSON.stringify({ v: 'KERI10JSON0000ff_', t: 'ixn', ...fields }))
    fc.assert(
      fc.property(
        text,
        fc.nat(),
        fc.constantFrom('', ' ', ',', '}', '{', '"', '\\', 'é', '}{', ',,'),
        fc.boolean(),
        (whole, where, noise, insert) => {
          const at = where % whole.length
          const changed = insert ? whole.slice(0, at) + noise + whole.slice(at) : whole
          let general: unknown
          try {
            general = JSON.parse(changed)
            if (JSON.stringify(general) !== changed) general = undefined
          } catch {
            general = undefined
          }
          if (general === undefined)
            expect(() => parseCompactJson(bytes(changed))).toThrow(expect.objectContaining({ code: 'KEL_PARSE' }))
          else expect(parseCompactJson(bytes(changed))).toEqual(general)
        },
      ),
      { numRuns: 3000 },
    )
  })
})
