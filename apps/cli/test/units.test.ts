import { formatBytes } from '@keyturn/primitives'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { durationParts, sizeText } from '../../launcher-daemon/src/page/units.ts'
import { VIEW_SCRIPT } from '../../release-server/src/dashboard/view.ts'
import { formatDuration } from '../src/output.ts'

const { bytes } = (await import(`data:text/javascript,${encodeURIComponent(VIEW_SCRIPT)}`)) as {
  readonly bytes: (count: number) => string
}

const sizes = fc.oneof(
  fc.nat(2000),
  fc.maxSafeNat(),
  fc
    .tuple(fc.integer({ min: 3, max: 13 }), fc.integer({ min: -600, max: 600 }))
    .map(([n, by]) => 10 ** n + by * 10 ** (n - 3)),
)

it('command line, launcher page and dashboard show a size in the same words', () => {
  fc.assert(
    fc.property(sizes, (count) => {
      expect([sizeText(count, 'en'), bytes(count)]).toEqual([formatBytes(count), formatBytes(count)])
    }),
  )
})

it('command line and launcher page show a time in the same units', () => {
  const short = { hours: 'h', minutes: 'min', seconds: 's' }
  fc.assert(
    fc.property(fc.nat(1_000_000), (seconds) => {
      const shown = durationParts(seconds).map(([unit, n]) => `${n} ${short[unit]}`)
      expect(shown.join(' ')).toBe(formatDuration(seconds))
    }),
  )
})
