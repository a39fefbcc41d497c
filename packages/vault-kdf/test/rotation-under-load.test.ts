import { expect, it } from 'vitest'
import { runCampaign } from '../campaign/rotation-under-load.ts'

// The figures of docs/benchmarks.md are of 100,000 records: `pnpm campaign`.
it.each(['folder', 'sqlite'] as const)(
  'three rotations of the key under load on the %s store, killed at random points: nothing failed, nothing lost (row 180)',
  async (kind) => {
    const result = await runCampaign(kind, 200, 3, 3, { withinOperations: 40 })
    expect(result.failures).toEqual([])
    expect(result.last).toMatch(/^done .* failed 0 active 4$/)
    expect(result.kills).toBe(3)
  },
  120_000,
)
