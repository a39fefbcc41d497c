import { describe, expect, it } from 'vitest'
import { parseTrustState, releaseSteps, verifyRelease, writeTrustState } from '../src/index.ts'
import { options, Publisher } from './support/publisher.ts'

describe('verifyRelease()', () => {
  it('accepts a first install and raises every floor', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const decision = verifyRelease(input, publisher.state(), options())
    expect(decision).toMatchObject({ outcome: 'accepted', trust: 'current', offer: 'manifest', warnings: [] })
    expect(decision.state).toMatchObject({
      log: { sn: 0 },
      roles: { version: 1 },
      epoch: 1,
      channels: { stable: { headSequence: 1, manifestSequence: 1, manifestSha256: input.made.pin.sha256 } },
    })
  })

  it('gives the same answer and the same state the second time (row 74)', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const first = verifyRelease(input, publisher.state(), options())
    const second = verifyRelease(input, first.state, options())
    expect(second.outcome).toBe('accepted')
    expect(second.state).toEqual(first.state)
  })

  it('remembers through trust.json', async () => {
    const publisher = await Publisher.create()
    const { state } = verifyRelease(await publisher.release(), publisher.state(), options())
    expect(parseTrustState(writeTrustState(state))).toEqual(state)
  })

  it('refuses without changing the state when the manifest is not pinned', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const other = await publisher.manifest()
    const before = verifyRelease(input, publisher.state(), options()).state
    const decision = verifyRelease({ ...input, manifest: other.bytes, signatures: other.signatures }, before, options())
    expect(decision).toMatchObject({
      outcome: 'refused',
      trust: 'stale',
      error: { code: 'MAN_PIN' },
      document: 'manifest',
    })
    expect(decision.state).toEqual(before)
  })

  it('asks for documents in the order in which they are trusted', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const steps = releaseSteps(publisher.state(), options())
    const asked: string[] = []
    const answers = [input.logs, input.roles, undefined, input.head, input.manifest, input.signatures]
    let step = steps.next()
    for (const answer of answers) {
      if (step.done === true) break
      asked.push(step.value.document)
      step = steps.next(answer)
    }
    expect(asked).toEqual(['log', 'roles', 'kills', 'head', 'manifest', 'signatures'])
    expect(step).toMatchObject({ done: true, value: { outcome: 'accepted' } })
  })

  it('accepts a release whose release key was rotated without other bytes', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const { state } = verifyRelease(input, publisher.state(), options())
    const { keyId } = await import('./support/publisher.ts')
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    const renewed = await publisher.seal(input.made.bytes, input.made.model, ['release 1', 'release 2'])
    const next = publisher.input(renewed, await publisher.head(renewed))
    const decision = verifyRelease(next, state, options())
    expect(decision).toMatchObject({ outcome: 'accepted', manifestSha256: input.made.pin.sha256 })
    expect(decision.state.roles?.version).toBe(2)
    const old = verifyRelease({ ...next, signatures: input.signatures }, state, options())
    expect(old).toMatchObject({ outcome: 'refused', error: { code: 'MAN_KEY_RETIRED' } })
  })
})
