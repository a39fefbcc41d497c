import { concatBytes, ed25519Sign, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { limits, pinnedKeysRoot, rebuildTrustState, verifyRelease } from '../src/index.ts'
import { signManifest, writeRoles } from '../src/publish/index.ts'
import type { ReleaseInput, VerifyOptions } from '../src/index.ts'
import { BAD_PATHS, requestsOf, rootCase } from './support/attack-cases.ts'
import { Install } from './support/install.ts'
import { DAY, keyId, NOW, publicKeyOf, Publisher, seedOf } from './support/publisher.ts'
import type { MadeManifest } from './support/publisher.ts'

// Rows of the catalogue of bad inputs that no other test of this package names.

/** The answer of an install that has a release, whose trust and tree must not change by it. */
function answer(install: Install, input: ReleaseInput, change?: Partial<VerifyOptions>): string {
  const before = install.fingerprint()
  const decision = install.cycle(input, change)
  expect(install.fingerprint()).toBe(before)
  expect(install.start().playable).toBe(true)
  return decision.outcome === 'refused' ? decision.error.code : decision.outcome
}

/** A rightly signed and pinned manifest whose text was edited before it was signed. */
async function edited(publisher: Publisher, made: MadeManifest, edit: (text: string) => string): Promise<ReleaseInput> {
  const sealed = await publisher.seal(utf8Encode(edit(utf8Decode(made.bytes))), made.model)
  const head = await publisher.head(sealed)
  publisher.headSequence -= 1
  return publisher.input(sealed, head)
}

describe('signatures', () => {
  it('of a key that is not listed are not believed (row 58)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    expect(answer(install, await publisher.release({ signers: ['stranger'] }))).toBe('MAN_KEY_UNKNOWN')
    expect(answer(install, await publisher.release({}, { signers: ['stranger'] }))).toBe('MAN_KEY_UNKNOWN')
  })

  it('count once for each key, and only when they verify (row 60)', async () => {
    const publisher = await Publisher.create({ release: ['release 1', 'release 2'], releaseThreshold: 2 })
    const install = await Install.with(publisher, await publisher.release({ signers: ['release 1', 'release 2'] }))
    const one = await publisher.release({ signers: ['release 1'] })
    const envelope = JSON.parse(utf8Decode(one.signatures)) as { signatures: { keyid: string; sig: string }[] }
    const [first] = envelope.signatures as [{ keyid: string; sig: string }]
    const withEntry = (keyid: string): ReleaseInput => ({
      ...one,
      signatures: utf8Encode(JSON.stringify({ ...envelope, signatures: [first, { keyid, sig: first.sig }] })),
    })
    // The same signature twice, under the other key's name, and under a second spelling of the same key.
    for (const keyid of [first.keyid, keyId('release 2'), first.keyid.toUpperCase()])
      expect(answer(install, withEntry(keyid))).toBe('MAN_THRESHOLD')
  })

  it('are never waived by a threshold of zero (row 61)', async () => {
    const { roles } = await Publisher.create()
    for (const threshold of [0, -1]) {
      const broken = { ...roles, roles: { ...roles.roles, release: { ...roles.roles.release, threshold } } }
      expect(() => writeRoles(broken)).toThrow(expect.objectContaining({ code: 'TRUST_ROLES' }))
    }
    expect(() => pinnedKeysRoot([])).toThrow(expect.objectContaining({ code: 'TRUST_INVALID' }))
  })

  it('made for another kind of document do not count (row 62)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const next = await publisher.release()
    const bare = { publicKey: publicKeyOf('release 1'), sign: () => ed25519Sign(seedOf('release 1'), next.manifest) }
    expect(answer(install, { ...next, signatures: await signManifest(next.manifest, [bare]) })).toBe('MAN_SIGNATURE')
  })

  it('on a release of another product or channel do not help (row 63)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    expect(answer(install, await publisher.release({ channel: 'beta' }))).toBe('MAN_APP_MISMATCH')
    expect(answer(install, await publisher.release(), { product: 'other' })).toBe('MAN_APP_MISMATCH')
  })
})

describe('JSON', () => {
  const replaced =
    (by: string) =>
    (text: string): string =>
      text.replace('"schema": 2', by)

  it('with a key that stands twice is refused, at any depth and in any spelling (row 64)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    const nested = (text: string): string =>
      text.replace('"path": "Metin2.exe"', '"path": "Metin2.exe", "p\\u0061th": "x"')
    for (const edit of [
      replaced('"schema": 2, "schema": 2'),
      nested,
      replaced('"x": {"a": 1, "\\u0061": 2}, "schema": 2'),
    ]) {
      expect(answer(install, await edited(publisher, made, edit))).toBe('MAN_JSON')
    }
  })

  it('reaches no prototype: __proto__ is refused, other names of object members are data (rows 65, 71)', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    const next = await publisher.manifest()
    const inFile = (text: string): string =>
      text.replace('"path": "Metin2.exe"', '"__proto__": {"size": 9}, "path": "Metin2.exe"')
    for (const edit of [replaced('"__proto__": {"polluted": 1}, "schema": 2'), inFile]) {
      expect(answer(install, await edited(publisher, next, edit))).toBe('MAN_JSON')
    }
    const odd =
      '"constructor": {"prototype": {"polluted": 1}}, "hasOwnProperty": 1, "prototype": [], "x-new": true, "schema": 2'
    const decision = install.cycle(await edited(publisher, next, replaced(odd)))
    expect(decision.outcome).toBe('accepted')
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    expect(JSON.stringify(decision.outcome === 'accepted' && decision.manifest)).not.toContain('polluted')
  })

  it('with a lone surrogate is refused (row 70)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    for (const text of ['"\\ud800"', '"\\udc00x"', '"\\ud83d\\u0041"']) {
      expect(answer(install, await edited(publisher, made, replaced(`"notes": ${text}, "schema": 2`)))).toBe('MAN_JSON')
    }
  })
})

describe('sequences and times', () => {
  it('cannot be pushed far ahead, and only the identity resets them (row 77)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    for (const sequence of [limits.sequenceJump + 2, Number.MAX_SAFE_INTEGER]) {
      const head = await publisher.head(made, { edit: (value) => ({ ...value, sequence }) })
      expect(answer(install, publisher.input(made, head))).toBe('MAN_VERSION_JUMP')
    }
    await publisher.rotate(() => ({ epoch: 2 }))
    const fresh = await publisher.manifest({ place: { sequence: 1 } })
    publisher.headSequence = 0
    expect(install.cycle(publisher.input(fresh, await publisher.head(fresh))).outcome).toBe('accepted')
  })

  it('end at the second they name (row 78)', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const end = NOW + 7 * DAY
    expect([end - 1, end, end + 1000].map((nowMs) => answer(install, input, { nowMs }))).toEqual([
      'accepted',
      'MAN_EXPIRED',
      'MAN_EXPIRED',
    ])
    expect(answer(install, input, { nowMs: end + 1000, expirySlackMs: 2000 })).toBe('accepted')
  })
})

describe('files', () => {
  it('of another release do not fit the hashes of this one (row 82)', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const tree = [...install.tree]
    const entries = [{ path: 'Metin2.exe', sha256: 'ab'.repeat(32), size: 3 }]
    install.cycle(await publisher.release({ entries }), {}, () => utf8Encode('exe'))
    expect([...install.tree]).toEqual(tree)
  })

  it('and documents without an end are cut at a limit that the request states (row 84)', async () => {
    const publisher = await Publisher.create()
    const next = await publisher.release()
    const install = await Install.with(publisher, next)
    for (const { maxBytes } of requestsOf(install, next)) expect(maxBytes).toBeLessThanOrEqual(limits.manifestBytes)
    const endless = concatBytes(next.head, new Uint8Array(limits.headBytes).fill(0x20))
    expect(answer(install, { ...next, head: endless })).toBe('MAN_LIMIT')
  })

  it("stay inside the install folder and away from what is the launcher's own (rows 85, 86)", async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    for (const path of BAD_PATHS) {
      const input = await edited(publisher, made, (text) => text.replace('"config/locale.cfg"', JSON.stringify(path)))
      expect([path, answer(install, input)]).toEqual([
        path,
        expect.stringMatching(/^MAN_(?:PATH|PATH_COLLISION|SCHEMA)$/),
      ])
    }
  })
})

describe('changes of hands', () => {
  it('need old and new keys and every step between; twelve in a row are walked at once (row 91)', async () => {
    expect(await rootCase({ next: [['a'], 1], to: [['x'], 1] }, [0])).toBe('KEL_NEXT_COMMITMENT')
    expect(await rootCase({ next: [['a'], 1], to: [['a'], 1] }, [])).toBe('KEL_UNSIGNED')
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    for (let turn = 2; turn <= 13; turn++) {
      const key = keyId(`release ${turn}`)
      await publisher.rotate(({ roles }) => ({ roles: { ...roles, release: { keys: [key], threshold: 1 } } }))
    }
    const input = await publisher.release({ signers: ['release 13'] })
    const gap = concatBytes(...publisher.messages.filter((_, index) => index !== 6))
    expect(answer(install, { ...input, logs: [gap] })).toMatch(/^KEL_/)
    expect(install.cycle(input).outcome).toBe('accepted')
    expect(install.state.roles?.version).toBe(13)
  })

  it('are not undone by an older role document (row 92)', async () => {
    const publisher = await Publisher.create()
    await publisher.rotate(({ roles }) => ({
      roles: { ...roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    const install = await Install.with(publisher, await publisher.release({ signers: ['release 2'] }))
    const old = await publisher.release({ signers: ['release 1'] })
    expect(answer(install, { ...old, roles: publisher.rolesBytes[0] as Uint8Array })).toBe('TRUST_ROLES')
    expect(answer(install, { ...old, roles: publisher.rolesBytes[0] as Uint8Array, logs: [publisher.log(1)] })).toBe(
      'KEL_ROLLBACK',
    )
  })

  it('cut off between storing the log and storing the role document leave the old or the new trust (row 93)', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    await publisher.rotate(() => ({ revokedKeys: [keyId('gone')] }))
    const stored = { heads: [input.head], manifests: [{ manifest: input.manifest, signatures: input.signatures }] }
    const [first, second] = publisher.rolesBytes as [Uint8Array, Uint8Array]
    const before = rebuildTrustState(install.state.root, { ...stored, log: publisher.log(1), roles: [first] })
    const between = rebuildTrustState(install.state.root, { ...stored, log: publisher.log(), roles: [first] })
    const after = rebuildTrustState(install.state.root, { ...stored, log: publisher.log(), roles: [first, second] })
    expect(before).toEqual(install.state)
    expect([before, between, after].map(({ roles, log }) => [log?.sn, roles?.version])).toEqual([
      [0, 1],
      [1, 1],
      [1, 2],
    ])
    for (const state of [before, between, after]) {
      expect(state.channels).toEqual(install.state.channels)
      const next = publisher.input(input.made, await publisher.head(input.made))
      expect(verifyRelease(next, state, { channel: 'stable', nowMs: NOW }).outcome).toBe('accepted')
    }
  })
})
