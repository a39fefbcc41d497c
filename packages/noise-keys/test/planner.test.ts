import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256, utf8Encode } from '@keyturn/primitives'
import { activeKey, INTERVAL_PRESETS, planRotation, remindersDue, rotationPolicy } from '../src/owner/index.ts'
import { ageDays, shouldRotate } from '../src/owner/planner.ts'
import { DEFAULT_ROTATION_POLICY, MIN_OVERLAP_S } from '../src/owner/policy.ts'
import { DAY_S, Peer, Publisher, START_S, summary } from './publisher.ts'
import { codeOf } from './support.ts'

describe('rotationPolicy()', () => {
  it('W12: refuses an overlap in which a peer could miss a rotation', () => {
    expect(MIN_OVERLAP_S).toBe(8 * DAY_S + 300)
    expect(DEFAULT_ROTATION_POLICY.overlapS).toBe(MIN_OVERLAP_S)
    expect(() => rotationPolicy({ overlapS: 7 * DAY_S })).toThrow(RangeError)
    expect(() => rotationPolicy({ intervalS: 366 * DAY_S })).toThrow(RangeError)
    expect(() => rotationPolicy({ prePublishS: 91 * DAY_S })).toThrow(RangeError)
    expect(() => rotationPolicy({ spread: 0.2 })).toThrow(RangeError)
    for (const days of Object.values(INTERVAL_PRESETS))
      expect(rotationPolicy({ intervalS: days * DAY_S }).intervalS).toBe(days * DAY_S)
  })
})

describe('planRotation()', () => {
  const planned = (): Publisher => {
    const publisher = new Publisher()
    publisher.add('server')
    return publisher
  }

  it('is a pure function of metadata, policy and time', () => {
    const { metadata } = planned()
    const frozen = JSON.stringify(metadata)
    expect(planRotation(metadata, undefined, START_S)).toEqual(planRotation(metadata, metadata.policy, START_S))
    expect(JSON.stringify(metadata)).toBe(frozen)
  })

  it('spreads rotations by at most 10 %, the same for a device always', () => {
    const turns = Array.from({ length: 200 }, (_, index) => {
      const publisher = new Publisher()
      publisher.add(`server-${index}`)
      return planRotation(publisher.metadata, undefined, START_S).turnAtS as number
    })
    expect(Math.max(...turns)).toBeLessThanOrEqual(START_S + 90 * DAY_S)
    expect(Math.min(...turns)).toBeGreaterThanOrEqual(START_S + 81 * DAY_S)
    expect(new Set(turns).size).toBeGreaterThan(190)
  })

  it('reminds at 80 % and at 100 %, and stops at the end of the records', () => {
    const { metadata } = planned()
    const due = (days: number): string[] =>
      remindersDue(planRotation(metadata, undefined, START_S + days * DAY_S)).map(({ action }) => action)
    expect(due(71.99)).toEqual([])
    expect(due(72)).toEqual(['remind-80'])
    expect(due(90)).toEqual(['remind-80', 'remind-100'])
    expect(due(129)).toEqual(['remind-80', 'remind-100', 'hard-stop'])
  })

  it('W14: a clock that was set back gives age 0 and a warning', () => {
    const { metadata } = planned()
    const plan = planRotation(metadata, undefined, START_S - 10 * DAY_S)
    expect(plan.ageDays).toBe(0)
    expect(plan.warnings).toEqual(['made in the future by this clock: server'])
    expect(plan.steps.some(({ due }) => due)).toBe(false)
    expect(ageDays(START_S, START_S - 1)).toBe(0)
  })

  it('the reminder and the rule of the guide agree at the very second', () => {
    expect([
      shouldRotate(START_S, 90, START_S + 90 * DAY_S - 1),
      shouldRotate(START_S, 90, START_S + 90 * DAY_S),
    ]).toEqual([false, true])
    const { metadata } = planned()
    const hundred = planRotation(metadata, undefined, START_S).steps.find(({ action }) => action === 'remind-100')
    expect(hundred?.atS).toBe(START_S + 90 * DAY_S)
  })

  it(
    'run from cron with any pauses under three weeks, no peer is ever without a key',
    { timeout: 120_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.integer({ min: 1, max: 20 * 24 }), { minLength: 20, maxLength: 40 }),
          async (pausesHours) => {
            const publisher = planned()
            await publisher.publish()
            const [regular, newcomers] = [new Peer(), () => new Peer()]
            for (const hours of pausesHours) {
              publisher.nowS += hours * 3600
              for (;;) {
                const due = planRotation(publisher.metadata, undefined, publisher.nowS).steps.find(
                  (step) => step.due && ['announce-next', 'cut-over', 'retire'].includes(step.action),
                )
                if (due === undefined) break
                if (due.action === 'announce-next') publisher.announce()
                if (due.action === 'cut-over') publisher.cutOver()
                if (due.action === 'retire') publisher.retire()
              }
              await publisher.publish()
              for (const peer of [regular, newcomers()]) {
                const [best] = await peer.look(publisher)
                expect(best).toMatchObject({ verdict: 'ok', device: activeKey(publisher.metadata)?.device })
              }
            }
          },
        ),
        { numRuns: 6 },
      )
    },
  )

  it('says so when no key is active', () => {
    const publisher = planned()
    publisher.revoke('server')
    expect(planRotation(publisher.metadata, undefined, START_S)).toMatchObject({
      steps: [],
      warnings: ['no key is active'],
    })
    expect(codeOf(() => publisher.announce())).toBeUndefined()
    expect(sha256(utf8Encode('x'))).toHaveLength(32)
    expect(summary([])).toEqual([])
  })
})
