import { afterAll, describe, expect, it } from 'vitest'
import { initialTrustState, isWithdrawn, limits, parseTrustRoot, verifyInstalled, verifyRelease } from '../src/index.ts'
import { isInRollout } from '../src/rollout.ts'
import { sha256Hex, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import type { Head, ReleaseDecision } from '../src/index.ts'
import { headOf, rivalRotation, rootCase, stolenCurrentKey, stolenNextKey } from './support/attack-cases.ts'
import type { RootSpec } from './support/attack-cases.ts'
import { Install } from './support/install.ts'
import { codeOf } from './support/outcome.ts'
import { CONTENT_KEYS, DAY, keyId, NOW, options, publicKeyOf, Publisher, seedOf } from './support/publisher.ts'
import { keyText, sha256DigestSeal } from '@keyturn/kel'
import { attachSignatures, buildInception, collectSignatures, seedSigner } from '@keyturn/kel/owner'

let rows = 0
function row(name: string, run: () => Promise<void>): void {
  rows += 1
  it(name, run)
}

function expectUnchanged(install: Install, act: () => ReleaseDecision, code: string): ReleaseDecision {
  const before = install.fingerprint()
  const decision = act()
  expect(codeOf(decision)).toBe(code)
  expect(install.fingerprint()).toBe(before)
  return decision
}

const turned = {
  release: { keys: [keyId('release 2')], threshold: 1 },
  head: { keys: [keyId('head 2')], threshold: 1 },
}

describe('states of trust: one test for each row of the table', () => {
  row('first install: pinned to current, and only along the whole order', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = new Install(publisher.state())
    const refused = expectUnchanged(install, () => install.cycle({}), 'TRUST_MISSING')
    expect(refused.trust).toBe('pinned')
    expect(install.cycle(input)).toMatchObject({ trust: 'current', outcome: 'accepted' })
    // What is left: a log that ends at the pin, with keys of that time, until that role document expires.
    const old = publisher.log()
    await publisher.rotate(() => ({ roles: turned }))
    const late = new Install(publisher.state())
    expect(codeOf(late.cycle({ ...input, logs: [old] }))).toBe('accepted')
    const pinnedLater = new Install(publisher.state(1))
    expectUnchanged(pinnedLater, () => pinnedLater.cycle({ ...input, logs: [old] }), 'TRUST_PIN')
    const year = NOW + 366 * DAY
    const stolen = await publisher.release(
      { nowMs: year, signers: ['release 1'] },
      { nowMs: year, signers: ['head 1'] },
    )
    const expired = new Install(publisher.state())
    expect(codeOf(expired.cycle({ ...stolen, logs: [old], roles: input.roles }, { nowMs: year }))).toBe('TRUST_EXPIRED')
  })

  row('normal update: floors rise, withholding ends in stale within 7 days', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    expect(install.cycle(await publisher.release()).outcome).toBe('accepted')
    expect(install.state.channels['stable']).toMatchObject({ headSequence: 2, manifestSequence: 2 })
    const held = expectUnchanged(install, () => install.cycle(input), 'MAN_ROLLBACK')
    expect(held.trust).toBe('stale')
    expect(install.start().playable).toBe(true)
  })

  row('role or identity turned: current again without a download', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const tree = [...install.tree]
    await publisher.rotate(() => ({ roles: turned }))
    const renewed = await publisher.seal(input.made.bytes, input.made.model, ['release 1', 'release 2'])
    const next = publisher.input(renewed, await publisher.head(renewed, { signers: ['head 2'] }))
    const decision = install.cycle(next, {}, () => {
      throw new Error('Nothing is to be downloaded')
    })
    expect(decision).toMatchObject({ outcome: 'accepted', trust: 'current', manifestSha256: input.made.pin.sha256 })
    expect([...install.tree]).toEqual(tree)
    // The identity alone, with the same document sealed again: the same number.
    await publisher.rotate()
    expect(
      install.cycle(publisher.input(renewed, await publisher.head(renewed, { signers: ['head 2'] }))).outcome,
    ).toBe('accepted')
    expect(install.state).toMatchObject({ log: { sn: 2 }, roles: { version: 2 } })
  })

  row('release key stolen: nothing that no head pins; revoked, re-signed, or barred', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const thief = await publisher.manifest({ signers: ['release 1'], notes: 'thief' })
    expectUnchanged(
      install,
      () => install.cycle({ ...input, manifest: thief.bytes, signatures: thief.signatures }),
      'MAN_PIN',
    )
    publisher.manifestSequence -= 1
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: turned.release },
      revokedKeys: [keyId('release 1')],
    }))
    // The new log alone already bars what only the stolen key signed, with or without a head.
    const { head, ...withoutHead } = publisher.input(input.made, input.head)
    const seen = install.cycle(withoutHead)
    expect(codeOf(seen)).toBe('MAN_MISSING')
    expect(install.state.roles?.version).toBe(2)
    expect(install.start()).toMatchObject({ playable: false, error: { code: 'TRUST_LOST' } })
    expect(codeOf(install.cycle(publisher.input(input.made, await publisher.head(input.made))))).toBe('MAN_KEY_RETIRED')
    const renewed = await publisher.seal(input.made.bytes, input.made.model, ['release 1', 'release 2'])
    expect(install.cycle(publisher.input(renewed, await publisher.head(renewed))).outcome).toBe('accepted')
    expect(install.start().playable).toBe(true)
    expect(head.length).toBeGreaterThan(0)
  })

  row('head key stolen: floors hold, a raised epoch resets what the thief burnt', async () => {
    const publisher = await Publisher.create()
    const first = await publisher.manifest()
    const install = await Install.with(publisher)
    // The thief may hold launchers at an older signed release that is not below their floor, and choose rollout and
    // mirrors.
    expectUnchanged(install, () => install.cycle(publisher.input(first, new Uint8Array())), 'MAN_SIGNATURE_FORMAT')
    const back = await publisher.head(first)
    expectUnchanged(install, () => install.cycle(publisher.input(first, back)), 'MAN_ROLLBACK')
    const made = await publisher.manifest()
    const burnt = await publisher.head(made, { edit: (head) => ({ ...head, sequence: limits.sequenceJump }) })
    expect(install.cycle(publisher.input(made, burnt)).outcome).toBe('accepted')
    await publisher.rotate((roles) => ({
      epoch: 2,
      roles: { ...roles.roles, head: turned.head },
      revokedKeys: [keyId('head 1')],
    }))
    publisher.headSequence = 0
    const sameFiles = await publisher.manifest({ place: { sequence: 1 } })
    expect(codeOf(install.cycle(publisher.input(sameFiles, await publisher.head(sameFiles))))).toBe('MAN_KEY_RETIRED')
    expect(
      install.cycle(publisher.input(sameFiles, await publisher.head(sameFiles, { signers: ['head 2'] }))).outcome,
    ).toBe('accepted')
    expect(install.state).toMatchObject({ epoch: 2, channels: { stable: { manifestSequence: 1 } } })
  })

  row('current identity key stolen: interaction events change nothing, a rotation supersedes them', async () => {
    const publisher = await Publisher.create({ establishmentOnly: false })
    const install = await Install.with(publisher)
    expectUnchanged(install, () => install.cycle(STOLEN), 'KEL_NEXT_COMMITMENT')
    const honest = [...publisher.messages]
    await publisher.interact([sha256DigestSeal(utf8Encode('roles of a thief'))])
    const roles = { ...publisher.roles }
    const next = await publisher.release()
    expect(install.cycle(next).outcome).toBe('accepted')
    expect(install.state.roles?.version).toBe(1)
    expect(publisher.roles).toEqual(roles)
    // The owner rotates from the last event of their own; the thief's interaction is superseded.
    const owner = await Publisher.create({ establishmentOnly: false })
    expect(owner.messages).toEqual(honest)
    await owner.rotate()
    owner.headSequence = publisher.headSequence
    owner.manifestSequence = publisher.manifestSequence
    const recovered = install.cycle(await owner.release())
    expect(codeOf(recovered)).toBe('accepted')
    expect(install.state.log?.said).toBe(owner.last.said)
    // An establishment-only identity does not even have interactions.
    const strict = await Publisher.create()
    await expect(strict.interact([])).rejects.toThrow()
  })

  row('next identity key stolen: first seen wins, a rival is a fork', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    await publisher.rotate()
    expect(install.cycle(await publisher.release()).outcome).toBe('accepted')
    const before = install.state
    const rival = await stolenNextKey(publisher, await Publisher.create())
    const decision = install.cycle(rival)
    expect(decision).toMatchObject({ outcome: 'refused', trust: 'forked', error: { code: 'KEL_DUPLICITY' } })
    expect({ ...install.state, fork: undefined }).toEqual({ ...before, fork: undefined })
    expect(install.start().playable).toBe(true)
    // Below nt the thief has nothing: one of two next keys does not rotate.
    const spec: RootSpec = { next: [['a', 'b', 'c'], 2], to: [['a', 'b', 'c'], 1] }
    expect([await rootCase(spec, [0]), await rootCase(spec, [0, 1])]).toEqual(['KEL_SIGNATURE', 'accepted'])
  })

  row('identity lost: plays on, stale once documents expire', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const year = NOW + 500 * DAY
    const decision = expectUnchanged(install, () => install.cycle(input, { nowMs: year }), 'TRUST_EXPIRED')
    expect(decision.trust).toBe('stale')
    expect(install.start().playable).toBe(true)
    const heir = await Publisher.create({ identity: 'heir' })
    expectUnchanged(install, () => install.cycle(HEIR), 'KEL_PREFIX')
    expect(heir.last.prefix).not.toBe(publisher.last.prefix)
  })
})

const STOLEN = await stolenCurrentKey(await Publisher.create({ establishmentOnly: false }))
const HEIR = await (await Publisher.create({ identity: 'heir' })).release()

describe('forks', () => {
  it('two valid logs at a first install are a fork, and nothing is installed', async () => {
    const [publisher, twin] = [await Publisher.create(), await Publisher.create()]
    await publisher.rotate()
    await rivalRotation(twin)
    const install = new Install(publisher.state())
    const decision = install.cycle({ ...(await publisher.release()), logs: [publisher.log(), twin.log()] })
    expect(decision).toMatchObject({ outcome: 'refused', trust: 'forked', error: { code: 'KEL_DUPLICITY' } })
    expect(install.tree.size).toBe(0)
  })

  it('a raised epoch settles two heads at one sequence', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    publisher.headSequence = 0
    install.cycle(publisher.input(made, await publisher.head(made, { nowMs: NOW + 1000 })))
    expect(install.last).toMatchObject({ trust: 'forked', error: { code: 'MAN_EQUIVOCATION' } })
    publisher.headSequence = 5
    expect(codeOf(install.cycle(publisher.input(made, await publisher.head(made))))).toBe('TRUST_FORKED')
    await publisher.rotate(() => ({ epoch: 2 }))
    const next = await publisher.manifest({ place: { sequence: 1 } })
    expect(install.cycle(publisher.input(next, await publisher.head(next))).outcome).toBe('accepted')
    expect(install.state.fork).toBeUndefined()
  })

  it('a log that ends before what was seen is a rollback', async () => {
    const publisher = await Publisher.create()
    const short = publisher.log()
    await publisher.rotate()
    const install = await Install.with(publisher)
    expectUnchanged(install, () => install.cycle({ ...HEIR, logs: [short] }), 'KEL_ROLLBACK')
  })
})

describe('witnesses', () => {
  it('receipts count as the log itself demands', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const unsigned = buildInception({
      keys: [publicKeyOf('witnessed')],
      nextKeys: [publicKeyOf('witnessed next')],
      traits: ['EO'],
      seals: [sha256DigestSeal(publisher.rolesBytes[0] as Uint8Array)],
      witnesses: ['witness 1', 'witness 2'].map((name) => keyText(publicKeyOf(name), false)),
      witnessThreshold: 2,
    })
    const signatures = await collectSignatures(
      unsigned.body,
      unsigned.event.publicKeys,
      seedSigner([seedOf('witnessed')]),
    )
    const receipts = ['witness 1', 'witness 2'].map((name, index) => ({
      index,
      signature: ed25519Sign(seedOf(name), unsigned.body),
    }))
    const seen = async (witnessSignatures: typeof receipts): Promise<string> => {
      const event = attachSignatures(undefined, unsigned, signatures, { witnessSignatures })
      const head = await publisher.head(made, { edit: (value) => ({ ...value, log: { sn: 0, said: event.said } }) })
      const root = parseTrustRoot(`did:keri:${event.prefix}?sn=0&said=${event.said}`)
      return codeOf(
        verifyRelease({ ...publisher.input(made, head), logs: [event.message] }, initialTrustState(root), options()),
      )
    }
    expect([await seen([]), await seen(receipts.slice(0, 1)), await seen(receipts)]).toEqual([
      'KEL_WITNESS',
      'KEL_WITNESS',
      'accepted',
    ])
  })
})

describe('a captive portal and a tampered manifest', () => {
  it('have one code, and only the tampered manifest bars play', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher)
    const next = await publisher.release()
    const portal = { ...next, manifest: utf8Encode('<html>Please log in</html>') }
    expect(expectUnchanged(install, () => install.cycle(portal), 'MAN_SIGNATURE').trust).toBe('stale')
    const tampered = { ...next, manifest: input.manifest.map((byte, index) => (index === 40 ? byte ^ 1 : byte)) }
    expect(expectUnchanged(install, () => install.cycle(tampered), 'MAN_SIGNATURE').trust).toBe('barred')
    expect(install.cycle(next).trust).toBe('current')
  })
})

describe('rollout, fallback and withdrawal', () => {
  const salt = '0123456789abcdef0123456789abcdef'

  it('isInRollout() never drops anyone when the share grows, and hits the share', () => {
    const ids = Array.from({ length: 4000 }, (_, index) => `install ${index}`)
    let before = new Set<string>()
    for (const percent of [0, 1, 10, 25, 50, 99, 100]) {
      const now = new Set(ids.filter((id) => isInRollout({ percent, salt, paused: false }, id)))
      for (const id of before) expect(now.has(id)).toBe(true)
      expect(Math.abs(now.size / ids.length - percent / 100)).toBeLessThan(0.03)
      before = now
    }
    expect(isInRollout({ percent: 100, salt, paused: true }, 'anyone')).toBe(false)
  })

  async function staged(
    percent: number,
    paused = false,
  ): Promise<{
    publisher: Publisher
    install: Install
    cycle: (cohort: 'in' | 'out' | { installId: string }) => ReleaseDecision
  }> {
    const publisher = await Publisher.create()
    const stable = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(stable, await publisher.head(stable)))
    const canary = await publisher.manifest()
    const edit = (head: Head): Head => ({ ...head, fallback: stable.pin, rollout: { percent, salt, paused } })
    const head = await publisher.head(canary, { edit })
    const cycle = (cohort: 'in' | 'out' | { installId: string }): ReleaseDecision => {
      const probe = verifyRelease({ ...publisher.input(canary, head) }, install.state, options({ cohort }))
      if (probe.outcome === 'accepted' || probe.outcome === 'stay') return probe
      // Outside the cohort the launcher fetches what the head names as fallback.
      return verifyRelease({ ...publisher.input(stable, head) }, install.state, options({ cohort }))
    }
    return { publisher, install, cycle }
  }

  it('offers the new release to the cohort and the fallback to the rest', async () => {
    const { cycle } = await staged(50)
    expect(cycle('in')).toMatchObject({ outcome: 'accepted', offer: 'manifest', manifest: { sequence: 2 } })
    expect(cycle('out')).toMatchObject({ outcome: 'accepted', offer: 'fallback', manifest: { sequence: 1 } })
  })

  it('stays when the fallback is below the floor, and raises the head floor', async () => {
    const { install, cycle } = await staged(50)
    const first = cycle('in')
    install.state = first.state
    const decision = cycle('out')
    expect(decision).toMatchObject({ outcome: 'stay', trust: 'current' })
    expect(decision.state).toEqual(first.state)
  })

  it('lets nobody new in while it is paused', async () => {
    const { cycle } = await staged(100, true)
    expect(cycle('in')).toMatchObject({ outcome: 'accepted', offer: 'fallback' })
    expect(cycle({ installId: 'x' })).toMatchObject({ offer: 'fallback' })
  })

  it('refuses a rollout without a fallback', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    await expect(
      publisher.head(made, { edit: (head) => ({ ...head, rollout: { percent: 1, salt, paused: false } }) }),
    ).rejects.toMatchObject({ code: 'MAN_SCHEMA' })
  })

  it('says that an installed release was withdrawn, and lets it start', async () => {
    const publisher = await Publisher.create()
    const bad = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(bad, await publisher.head(bad)))
    const good = await publisher.manifest()
    const head = await publisher.head(good, { edit: (value) => ({ ...value, revoked: [bad.pin] }) })
    const decision = install.cycle(publisher.input(good, head))
    expect(decision.outcome).toBe('accepted')
    expect(isWithdrawn(headOf(head), bad.pin)).toBe(true)
    expect(isWithdrawn(headOf(head), good.pin)).toBe(false)
  })
})

describe('clocks', () => {
  it('never runs below the newest signed time, and warns (row 80)', async () => {
    const publisher = await Publisher.create()
    const later = NOW + 20 * DAY
    const input = await publisher.release({ nowMs: later }, { nowMs: later })
    const install = new Install(publisher.state())
    install.cycle(input, { nowMs: later })
    expect(install.state.clockFloorMs).toBe(later)
    const back = verifyRelease(input, install.state, options({ nowMs: NOW - 365 * DAY }))
    expect(back).toMatchObject({ outcome: 'accepted', warnings: [{ code: 'MAN_CLOCK' }] })
    const stale = await publisher.release({ nowMs: NOW + 10 * DAY }, { nowMs: NOW + 10 * DAY })
    expect(codeOf(verifyRelease(stale, install.state, options({ nowMs: NOW + 10 * DAY })))).toBe('MAN_EXPIRED')
  })

  it('is not locked out by a clock that was once far ahead (row 81)', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const ahead = verifyRelease(input, publisher.state(), options({ nowMs: NOW + 3650 * DAY }))
    expect(ahead.outcome).toBe('refused')
    expect(verifyRelease(input, ahead.state, options()).outcome).toBe('accepted')
  })

  it('refuses what was issued more than five minutes ahead (row 79)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const tenMinutes = await publisher.release({}, { nowMs: NOW + 600_000 })
    expectUnchanged(install, () => install.cycle(tenMinutes), 'MAN_CLOCK')
    const halfMinute = await publisher.release({}, { nowMs: NOW + 30_000 })
    expect(install.cycle(halfMinute).outcome).toBe('accepted')
  })
})

describe('role documents', () => {
  it('are refused when withheld, exchanged, or with a key of the identity', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher)
    const { roles, ...withheld } = await publisher.release()
    expectUnchanged(install, () => install.cycle(withheld), 'TRUST_ROLES')
    expectUnchanged(install, () => install.cycle({ ...withheld, roles: utf8Encode('{}') }), 'TRUST_ROLES')
    expect(roles).toEqual(input.roles)
    await publisher.rotate(({ roles: current }) => ({
      roles: { ...current, head: { keys: [keyId('identity 0')], threshold: 1 } },
    }))
    expectUnchanged(install, () => install.cycle(publisher.input(input.made, input.head)), 'TRUST_ROLES')
  })

  it('never lower the epoch and never give a revoked key back', async () => {
    const lower = await Publisher.create()
    const install = await Install.with(lower)
    await lower.rotate(() => ({ epoch: 2 }))
    const up = await lower.release({ place: { sequence: 1 } })
    expect(install.cycle(up).outcome).toBe('accepted')
    await lower.rotate(() => ({ epoch: 1 }))
    expectUnchanged(
      install,
      () => install.cycle(up.made === undefined ? {} : lower.input(up.made, up.head)),
      'TRUST_ROLLBACK',
    )
    const revoker = await Publisher.create()
    await revoker.rotate(() => ({ revokedKeys: [keyId('stolen')] }))
    const other = await Install.with(revoker)
    const earlierRoles = [...revoker.rolesBytes]
    await revoker.rotate(() => ({ revokedKeys: [] }))
    const input = { ...(await revoker.release()), earlierRoles }
    expectUnchanged(other, () => other.cycle(input), 'TRUST_ROLES')
  })

  it('are numbered by the changes of the seal, and only establishment events count', async () => {
    const publisher = await Publisher.create({ establishmentOnly: false })
    await publisher.interact([sha256DigestSeal(utf8Encode('something else'))])
    await publisher.rotate()
    await publisher.rotate(() => ({ expiresAt: '2027-01-01T00:00:00Z' }))
    await publisher.rotate()
    const decision = verifyRelease(await publisher.release(), publisher.state(), options())
    expect(codeOf(decision)).toBe('accepted')
    expect(decision.state).toMatchObject({ log: { sn: 4 }, roles: { version: 2 } })
  })

  it('are missed when an establishment event seals none', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    await publisher.rotate(undefined, [])
    expectUnchanged(install, () => install.cycle({ ...input, logs: [publisher.log()] }), 'TRUST_LOG')
  })
})

describe('verifyInstalled()', () => {
  it('plays after expiry, is barred by damage and by a revoked content key', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const documents = install.documents as NonNullable<Install['documents']>
    expect(install.start().playable).toBe(true)
    const damaged = {
      ...documents,
      manifest: documents.manifest.map((byte, index) => (index === 50 ? byte ^ 1 : byte)),
    }
    expect(verifyInstalled(damaged, install.state)).toMatchObject({ playable: false, error: { code: 'MAN_SIGNATURE' } })
    const { log, ...withoutLog } = documents
    expect(verifyInstalled(withoutLog, install.state)).toMatchObject({ playable: false, error: { code: 'TRUST_LOST' } })
    expect(sha256Hex(log)).toHaveLength(64)
    const retired = CONTENT_KEYS.map((key) => ({ ...key, status: 'retired' as const }))
    expect(verifyInstalled({ ...documents, newestContentKeys: retired }, install.state).playable).toBe(true)
  })
})

afterAll(() => {
  expect(rows).toBe(8)
})
