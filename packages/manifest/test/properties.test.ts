import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { floorOf } from '../src/index.ts'
import { sha256Hex } from '@keyturn/primitives'
import type { ReleaseInput, TrustState } from '../src/index.ts'
import { Install } from './support/install.ts'
import { DAY, NOW } from './support/publisher.ts'
import { buildWorld } from './support/worlds.ts'
import type { World } from './support/worlds.ts'

// A short run in every test; `pnpm campaign` sets the number of sequences and the seed, and is recorded in the docs.
const RUNS = Number(process.env['KEYTURN_CAMPAIGN_RUNS'] ?? 400)
const SEED =
  process.env['KEYTURN_CAMPAIGN_SEED'] === undefined ? undefined : Number(process.env['KEYTURN_CAMPAIGN_SEED'])
const WORLDS = RUNS > 10_000 ? 40 : 8

/** What the server answers in one cycle: an honest state, with one thing after the other done to it. */
interface Cycle {
  readonly state: number
  readonly damage: readonly Damage[]
  readonly clockDays: number
  readonly cohort: 'in' | 'out'
}

type DocumentName = 'log' | 'roles' | 'head' | 'manifest' | 'signatures'
type Damage =
  | { readonly kind: 'flip' | 'cut'; readonly document: DocumentName; readonly at: number }
  | { readonly kind: 'swap'; readonly document: DocumentName; readonly with: number }
  | { readonly kind: 'withhold'; readonly document: DocumentName }
  | { readonly kind: 'add log'; readonly with: number }

const documentName = fc.constantFrom<DocumentName>('log', 'roles', 'head', 'manifest', 'signatures')
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ kind: fc.constantFrom('flip' as const, 'cut' as const), document: documentName, at: fc.nat(200_000) }),
  fc.record({ kind: fc.constant('swap' as const), document: documentName, with: fc.nat(100) }),
  fc.record({ kind: fc.constant('withhold' as const), document: documentName }),
  fc.record({ kind: fc.constant('add log' as const), with: fc.nat(100) }),
)
const cycle: fc.Arbitrary<Cycle> = fc.record({
  state: fc.nat(100),
  damage: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 4, arbitrary: fc.array(damage, { minLength: 1, maxLength: 3 }) },
  ),
  clockDays: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: -400, max: 400 }) },
  ),
  cohort: fc.constantFrom('in' as const, 'out' as const),
})

function pick<Item>(items: readonly Item[], index: number): Item {
  return items[index % items.length] as Item
}

interface Served {
  log: Uint8Array[]
  roles: Uint8Array | undefined
  head: Uint8Array | undefined
  manifest: Uint8Array | undefined
  signatures: Uint8Array | undefined
}

function edit(
  bytes: Uint8Array | undefined,
  change: { readonly kind: 'flip' | 'cut'; readonly at: number },
): Uint8Array | undefined {
  if (bytes === undefined || bytes.length === 0) return bytes
  const at = change.at % bytes.length
  if (change.kind === 'cut') return bytes.slice(0, at)
  const flipped = bytes.slice()
  flipped[at] = (flipped[at] as number) ^ (1 << (change.at & 7))
  return flipped
}

function apply(served: Served, change: Damage, world: World): void {
  if (change.kind === 'add log') {
    served.log.push(pick(world.logs, change.with))
    return
  }
  const { document } = change
  if (change.kind === 'withhold') {
    if (document === 'log') served.log = []
    else served[document] = undefined
    return
  }
  if (change.kind === 'swap') {
    const other = pick(world.manifests, change.with)
    if (document === 'log') served.log = [pick(world.logs, change.with)]
    else if (document === 'roles') served.roles = pick(world.roles, change.with)
    else if (document === 'head') served.head = pick(world.heads, change.with)
    else served[document] = other[document]
    if (document === 'manifest') served.signatures = other.signatures
    return
  }
  if (document === 'log') served.log = served.log.map((bytes) => edit(bytes, change) as Uint8Array)
  else served[document] = edit(served[document], change)
}

function serve(
  world: World,
  { state, damage: changes }: Cycle,
): { input: ReleaseInput; nowMs: number; damaged: boolean } {
  const honest = pick(world.states, state)
  const served: Served = {
    log: [...honest.logs],
    roles: honest.roles,
    head: honest.head,
    manifest: honest.manifest,
    signatures: honest.signatures,
  }
  for (const change of changes) apply(served, change, world)
  const { log, ...rest } = served
  const input: ReleaseInput = {
    logs: log,
    ...(Object.fromEntries(Object.entries(rest).filter(([, bytes]) => bytes !== undefined)) as ReleaseInput),
  }
  return { input, nowMs: honest.nowMs, damaged: changes.length > 0 }
}

/** No floor is ever lower than it was, unless the identity raised the epoch. */
function expectNotLowered(before: TrustState, after: TrustState): void {
  expect(after.root).toEqual(before.root)
  expect(after.clockFloorMs).toBeGreaterThanOrEqual(before.clockFloorMs)
  expect(after.establishment?.sn ?? -1).toBeGreaterThanOrEqual(before.establishment?.sn ?? -1)
  expect(after.roles?.version ?? 0).toBeGreaterThanOrEqual(before.roles?.version ?? 0)
  expect(after.epoch ?? -1).toBeGreaterThanOrEqual(before.epoch ?? -1)
  if (after.epoch !== before.epoch) {
    if (before.epoch !== undefined) expect(after.roles?.version).toBeGreaterThan(before.roles?.version ?? 0)
    return
  }
  const [low, high] = [floorOf(before, 'stable'), floorOf(after, 'stable')]
  expect(high.headSequence ?? 0).toBeGreaterThanOrEqual(low.headSequence ?? 0)
  expect(high.manifestSequence ?? 0).toBeGreaterThanOrEqual(low.manifestSequence ?? 0)
  for (const [keyId, seen] of Object.entries(before.keyIds)) expect(after.keyIds[keyId]).toEqual(seen)
}

function walk(world: World, cycles: readonly Cycle[]): void {
  const install = new Install(world.publisher.state())
  for (const step of cycles) {
    const { input, nowMs } = serve(world, step)
    const [before, tree] = [install.state, [...install.tree]]
    const decision = install.cycle(input, { nowMs: nowMs + step.clockDays * DAY, cohort: step.cohort })
    expectNotLowered(before, install.state)
    if (decision.outcome === 'accepted') {
      expect(world.honest).toContain(decision.manifestSha256)
      expect(sha256Hex(decision.manifestBytes)).toBe(decision.manifestSha256)
      expect(decision.signedBy.length).toBeGreaterThan(0)
    } else {
      expect([...install.tree]).toEqual(tree)
      expect(floorOf(install.state, 'stable').manifestSequence).toBe(
        install.state.epoch === before.epoch ? floorOf(before, 'stable').manifestSequence : undefined,
      )
    }
  }
}

describe('random server states', () => {
  const worlds: World[] = []
  beforeAll(async () => {
    for (let seed = 1; seed <= WORLDS; seed++) worlds.push(await buildWorld(seed))
  })

  it('accept every honest history in order', () => {
    for (const world of worlds) {
      const install = new Install(world.publisher.state())
      for (const state of world.states) {
        const cohort = 'in' as const
        const decision = install.cycle(state, { nowMs: state.nowMs, cohort })
        const expected =
          decision.outcome === 'refused' ? `${decision.error.code}: ${decision.error.message}` : decision.outcome
        expect(expected).toMatch(/^(accepted|stay|MAN_PIN.*)$/)
      }
      expect(install.state.log?.sn).toBe(world.publisher.last.sn)
    }
  })

  it(
    'never lower a floor and never install a byte that no honest release covers',
    () => {
      let sequences = 0
      const started = performance.now()
      fc.assert(
        fc.property(fc.nat(WORLDS - 1), fc.array(cycle, { minLength: 1, maxLength: 10 }), (world, cycles) => {
          sequences += 1
          if (sequences % 10_000 === 0)
            console.info(`${sequences} sequences, ${((performance.now() - started) / 1000).toFixed(0)} s`)
          walk(worlds[world] as World, cycles)
        }),
        { numRuns: RUNS, ...(SEED !== undefined && { seed: SEED }), endOnFailure: RUNS > 10_000 },
      )
      if (RUNS > 10_000)
        console.info(
          `${sequences} sequences with seed ${SEED ?? 'random'} in ` +
            `${((performance.now() - started) / 1000).toFixed(0)} s`,
        )
      expect(NOW).toBeGreaterThan(0)
    },
    24 * 60 * 60 * 1000,
  )
})
