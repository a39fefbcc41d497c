import { describe, expect, it } from 'vitest'
import { simulateFleet } from '../campaign/fleet-model.ts'
import type { FleetOptions } from '../campaign/fleet-model.ts'

const options: FleetOptions = {
  launchers: 20_000,
  on: Array.from({ length: 24 }, () => 0.5),
  checksPerHour: 1,
  caches: 4,
  documents: [
    { name: 'head.json', freshSeconds: 15, bytes: 2000 },
    { name: 'log', freshSeconds: 60, bytes: 4000 },
  ],
  downloadBytes: 0,
  updateRequests: 10,
  rangeBytes: 1000,
  random: Math.random,
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

describe('simulateFleet()', () => {
  it('asks the origin once per document, cache and time that it may be shown', () => {
    const [hour] = simulateFleet({ ...options, on: [0.5] })
    // Time until the next check adds to each period: 0.69 checks a second and cache.
    const expected = 4 * (3600 / (15 + 1 / 0.69 + 0.5) + 3600 / (60 + 1 / 0.69 + 0.5))
    expect(hour?.originRequests).toBeGreaterThan(expected * 0.9)
    expect(hour?.originRequests).toBeLessThan(expected * 1.1)
    expect(hour?.requests).toBeGreaterThan(2 * 10_000 * 0.95)
    expect(hour?.requests).toBeLessThan(2 * 10_000 * 1.05)
  })

  it('lets each launcher download once, and each cache fetch once', () => {
    const hours = simulateFleet({ ...options, publishedAt: 2, downloadBytes: 5000 })
    const updated = hours.at(-1)?.updated ?? 0
    expect(hours[1]?.updated).toBe(0)
    expect(updated).toBeGreaterThan(19_900)
    const quiet = simulateFleet(options)
    const downloaded = sum(hours.map(({ bytes }) => bytes)) - sum(quiet.map(({ bytes }) => bytes))
    expect(Math.abs(downloaded - updated * 5000)).toBeLessThan(updated * 5000 * 0.02)
    const atOrigin = sum(hours.map(({ originBytes }) => originBytes)) - sum(quiet.map(({ originBytes }) => originBytes))
    expect(atOrigin).toBeLessThan(4 * 5000 + 4 * 10_000 + 20_000)
  })

  it('without a CDN everything is asked of the origin', () => {
    for (const hour of simulateFleet({ ...options, caches: 0, publishedAt: 2, downloadBytes: 5000 }))
      expect([hour.originRequests, hour.originBytes]).toEqual([hour.requests, hour.bytes])
  })
})
