import fc from 'fast-check'
import { describe, it } from 'vitest'
import { fuzzOpen, fuzzParser, randomOf } from './support/mutate.ts'

describe('damaged archives', () => {
  it('the parser accepts or throws an M2pError, and nothing else', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => void fuzzParser(randomOf(seed))),
      { numRuns: 20_000 },
    )
  })

  it("opening and reading gives the publisher's bytes or an M2pError", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => void (await fuzzOpen(randomOf(seed)))),
      { numRuns: 2000 },
    )
  })
})
