import { concatBytes, ed25519Sign, utf8Decode, utf8Encode, sha256Hex } from '@keyturn/primitives'
import { afterAll, describe, expect, it } from 'vitest'
import {
  initialTrustState,
  limits,
  parseRoles,
  parseTrustRoot,
  parseTrustState,
  rebuildTrustState,
  verifyInstalled,
  verifyRelease,
  writeTrustState,
} from '../src/index.ts'
import { checkPath, signHead, signManifest, writeHead, writeManifest, writeRoles } from '../src/publish/index.ts'
import type { ReleaseDecision, ReleaseInput, VerifyOptions } from '../src/index.ts'
import {
  BAD_PATHS,
  headOf,
  requestsOf,
  rivalRotation,
  ROLE_CASES,
  roleCase,
  ROOT_CASES,
  rootCase,
  stolenCurrentKey,
} from './support/attack-cases.ts'
import { Install } from './support/install.ts'
import { codeOf } from './support/outcome.ts'
import {
  CONTENT_KEYS,
  DAY,
  FILES,
  keyId,
  NOW,
  options,
  publicKeyOf,
  Publisher,
  seedOf,
  signerOf,
} from './support/publisher.ts'

// One test for each row of the two attack tables, in their order; docs/threat-model.md tells them in plain words.
const rows = { named: 0, ported: 0 }

function attack(row: string, run: () => Promise<void>): void {
  rows.named += 1
  it(row, run)
}

function ported(row: string, run: () => Promise<void>): void {
  rows.ported += 1
  it(row, run)
}

/** The cycle is refused with this code, and neither trust nor tree have changed. */
function expectRefused(
  install: Install,
  input: ReleaseInput,
  code: string,
  change: Partial<VerifyOptions> = {},
): ReleaseDecision {
  const before = install.fingerprint()
  const decision = install.cycle(input, change)
  expect(codeOf(decision)).toBe(code)
  expect(install.fingerprint()).toBe(before)
  expect(install.start().playable).toBe(true)
  return decision
}

/** As {@link expectRefused} for two contradicting documents: only the evidence is added. */
function expectForked(install: Install, input: ReleaseInput, code: string): void {
  const before = { ...install.state, tree: [...install.tree] }
  const decision = install.cycle(input)
  expect(codeOf(decision)).toBe(code)
  expect(decision.trust).toBe('forked')
  const { fork, ...rest } = install.state
  expect(fork?.evidence).toHaveLength(2)
  expect({ ...rest, tree: [...install.tree] }).toEqual(before)
  expect(install.start().playable).toBe(true)
}

const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))

describe('named attacks (29 rows)', () => {
  attack('arbitrary software: unsigned, changed or signed by a stranger', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const next = await publisher.release()
    const unsigned = await signManifest(next.manifest, [])
    expectRefused(install, { ...next, signatures: unsigned }, 'MAN_SIGNATURE')
    expectRefused(
      install,
      { ...next, signatures: await signManifest(next.manifest, [signerOf('stranger')]) },
      'MAN_KEY_UNKNOWN',
    )
    for (const at of [0, 100, next.manifest.length - 2]) {
      expectRefused(install, { ...next, manifest: flip(next.manifest, at) }, 'MAN_SIGNATURE')
    }
    expectRefused(install, { ...next, head: await signHead(writeHead(headOf(next.head)), []) }, 'MAN_SIGNATURE')
  })

  attack('rollback of the manifest', async () => {
    const publisher = await Publisher.create()
    const old = await publisher.manifest()
    const install = await Install.with(publisher)
    expectRefused(install, publisher.input(old, await publisher.head(old)), 'MAN_ROLLBACK')
    const rival = await publisher.manifest({ place: { sequence: 2 }, notes: 'rival' })
    const other = await Publisher.create()
    const second = await Install.with(other)
    const twin = await other.manifest({ place: { sequence: 1 }, notes: 'rival' })
    expectForked(second, other.input(twin, await other.head(twin)), 'MAN_EQUIVOCATION')
    expect(rival.pin.sequence).toBe(2)
  })

  attack('rollback of the head', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const oldHead = await publisher.head(made)
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    expectRefused(install, publisher.input(made, oldHead), 'MAN_ROLLBACK')
  })

  attack('change without a bump', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    publisher.headSequence = 0
    const changed = await publisher.head(made, {
      edit: (head) => ({ ...head, mirrors: [{ url: 'https://evil.example/', weight: 1 }] }),
    })
    expectForked(install, publisher.input(made, changed), 'MAN_EQUIVOCATION')
  })

  attack('indefinite freeze', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const decision = expectRefused(install, input, 'MAN_EXPIRED', { nowMs: NOW + 7 * DAY })
    expect(decision.trust).toBe('stale')
    const late = await publisher.head(input.made, { nowMs: NOW + 300 * DAY })
    const fresh = await publisher.manifest({ nowMs: NOW + 300 * DAY })
    expect(codeOf(verifyRelease({ ...input, head: late }, install.state, options({ nowMs: NOW + 300 * DAY })))).toBe(
      'accepted',
    )
    const oldManifest = await publisher.head(input.made, { nowMs: NOW + 364.99 * DAY })
    expect(fresh.pin.sequence).toBe(2)
    expectRefused(install, { ...input, head: oldManifest }, 'TRUST_EXPIRED', { nowMs: NOW + 366 * DAY })
  })

  attack('root expired: only the last role document has to be valid', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const later = NOW + 366 * DAY
    const before = install.fingerprint()
    const expired = await publisher.release({ nowMs: later }, { nowMs: later })
    expectRefused(install, expired, 'TRUST_EXPIRED', { nowMs: later })
    expect(install.fingerprint()).toBe(before)
    await publisher.rotate(() => ({ issuedAt: '2027-11-22T00:00:00Z', expiresAt: '2028-11-20T00:00:00Z' }))
    const renewed = await publisher.release({ nowMs: later }, { nowMs: later })
    expect(install.cycle(renewed, { nowMs: later }).outcome).toBe('accepted')
  })

  attack('expired local head still is a floor', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const first = await publisher.head(made)
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    const later = NOW + 30 * DAY
    expectRefused(install, publisher.input(made, first), 'MAN_ROLLBACK', { nowMs: later })
    const fresh = await publisher.head(made, { nowMs: later })
    expect(install.cycle(publisher.input(made, fresh), { nowMs: later }).outcome).toBe('accepted')
  })

  attack('fast-forward, and the way back by a raised epoch', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    const jump = await publisher.head(made, { edit: (head) => ({ ...head, sequence: 1 + limits.sequenceJump + 1 }) })
    expectRefused(install, publisher.input(made, jump), 'MAN_VERSION_JUMP')
    const far = await publisher.manifest({ place: { sequence: limits.sequenceJump + 2 } })
    expectRefused(install, publisher.input(far, await publisher.head(far)), 'MAN_VERSION_JUMP')
    const epoch = await publisher.head(made, { edit: (head) => ({ ...head, epoch: 2 }) })
    expectRefused(install, publisher.input(made, epoch), 'MAN_VERSION_JUMP')
    // Burn as far as it goes, then recover: only a rotation resets the floors.
    publisher.headSequence = limits.sequenceJump - 1
    install.cycle(publisher.input(made, await publisher.head(made)))
    await publisher.rotate(() => ({ epoch: 2 }))
    publisher.headSequence = 0
    const reset = await publisher.manifest({ place: { sequence: 1 } })
    const decision = install.cycle(publisher.input(reset, await publisher.head(reset)))
    expect(codeOf(decision)).toBe('accepted')
    expect(install.state).toMatchObject({ epoch: 2, channels: { stable: { headSequence: 1, manifestSequence: 1 } } })
  })

  attack('mix-and-match', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const [two, three] = [await publisher.manifest(), await publisher.manifest()]
    const head = await publisher.head(three)
    expectRefused(
      install,
      { ...publisher.input(three, head), manifest: two.bytes, signatures: two.signatures },
      'MAN_PIN',
    )
    const wrongVersion = await publisher.head(three, {
      edit: (value) => ({ ...value, manifest: { ...three.pin, version: '2026.11.21-9' } }),
    })
    expectRefused(install, publisher.input(three, wrongVersion), 'MAN_PIN')
    const unknownRoles = await publisher.head(three, { edit: (value) => ({ ...value, rolesVersion: 2 }) })
    expectRefused(install, publisher.input(three, unknownRoles), 'MAN_PIN')
    const rolesAhead = await publisher.manifest({ place: { rolesVersion: 2 } })
    expectRefused(install, publisher.input(rolesAhead, await publisher.head(rolesAhead)), 'MAN_PIN')
    const olderLog = publisher.log()
    await publisher.rotate()
    const newerHead = await publisher.head(rolesAhead)
    expectRefused(install, { ...publisher.input(three, newerHead), logs: [olderLog] }, 'MAN_PIN')
  })

  attack('endless data: every document has a limit, known before it is fetched', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const next = await publisher.release()
    const long = (bytes: Uint8Array, length: number): Uint8Array =>
      concatBytes(bytes, new Uint8Array(length).fill(0x20))
    expectRefused(install, { ...next, head: long(next.head, limits.headBytes) }, 'MAN_LIMIT')
    expectRefused(install, { ...next, signatures: long(next.signatures, limits.signaturesBytes) }, 'MAN_LIMIT')
    expectRefused(install, { ...next, logs: [long(publisher.log(), limits.logBytes)] }, 'MAN_LIMIT')
    expectRefused(install, { ...next, manifest: long(next.manifest, 1) }, 'MAN_SIGNATURE')
    const asked = requestsOf(install, next)
    expect(asked.map(({ document, maxBytes }) => [document, maxBytes])).toEqual([
      ['log', limits.logBytes],
      ['roles', limits.rolesBytes],
      ['kills', limits.killsBytes],
      ['head', limits.headBytes],
      ['manifest', next.manifest.length],
      ['signatures', limits.signaturesBytes],
    ])
  })

  attack('slow retrieval: what was given up counts as not there', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const { manifest, signatures, head, ...start } = await publisher.release()
    expectRefused(install, start, 'MAN_MISSING')
    expectRefused(install, { ...start, head }, 'MAN_MISSING')
    expectRefused(install, { ...start, head, manifest }, 'MAN_MISSING')
    expectRefused(install, {}, 'TRUST_MISSING')
    expect(signatures.length).toBeGreaterThan(0)
  })

  attack('extraneous dependencies: nothing but files, delete and launcher can be named', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const text = utf8Decode(made.bytes).replace(
      '"schema": 2',
      '"post_install": "evil.sh", "urls": ["https://evil.example/x"], "schema": 2',
    )
    const bytes = utf8Encode(text)
    const sealed = await publisher.seal(bytes, made.model)
    const install = new Install(publisher.state())
    const decision = install.cycle(publisher.input(sealed, await publisher.head(sealed)))
    expect(codeOf(decision)).toBe('accepted')
    expect(JSON.stringify(decision.outcome === 'accepted' && decision.manifest)).not.toContain('evil')
    expect([...install.tree.keys()].sort()).toEqual(FILES.map(({ path }) => path).sort())
  })

  attack('malicious mirror: garbage and a lagging log are passed over', async () => {
    const publisher = await Publisher.create()
    const short = publisher.log()
    const install = await Install.with(publisher)
    await publisher.rotate()
    const next = await publisher.release()
    expectRefused(install, { ...next, logs: [utf8Encode('<html>not found</html>')] }, 'KEL_PARSE')
    expectRefused(install, { ...next, logs: [] }, 'TRUST_MISSING')
    const decision = install.cycle({ ...next, logs: [utf8Encode('garbage'), short, publisher.log()] })
    expect(codeOf(decision)).toBe('accepted')
    expect(decision.state.log?.sn).toBe(1)
  })

  attack('key compromise below the threshold', async () => {
    const publisher = await Publisher.create({ release: ['release 1', 'release 2', 'release 3'], releaseThreshold: 2 })
    const both = { signers: ['release 1', 'release 2'] }
    const install = await Install.with(publisher, await publisher.release(both))
    const one = await publisher.release({ signers: ['release 1'] })
    expectRefused(install, one, 'MAN_THRESHOLD')
    expectRefused(install, await publisher.release({ signers: ['release 3', 'stranger'] }), 'MAN_THRESHOLD')
    const twice = JSON.parse(utf8Decode(one.signatures)) as { signatures: unknown[] }
    twice.signatures.push(twice.signatures[0])
    expectRefused(install, { ...one, signatures: utf8Encode(JSON.stringify(twice)) }, 'MAN_THRESHOLD')
    expect(codeOf(install.cycle(await publisher.release({ signers: ['release 2', 'release 3', 'stranger'] })))).toBe(
      'accepted',
    )
  })

  attack('online key theft: the head key chooses among signed releases and names no file', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const forged = await publisher.manifest({ signers: ['head 1'], notes: 'thief' })
    expectRefused(install, publisher.input(forged, await publisher.head(forged)), 'MAN_KEY_UNKNOWN')
    const real = await publisher.manifest()
    expectRefused(
      install,
      publisher.input(real, await publisher.head(real, { signers: ['release 1'] })),
      'MAN_KEY_UNKNOWN',
    )
    expect(codeOf(install.cycle(publisher.input(real, await publisher.head(real))))).toBe('accepted')
  })

  attack('current root theft: a rotation needs the pre-committed keys', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const thief = await stolenCurrentKey(publisher)
    expectRefused(install, thief, 'KEL_NEXT_COMMITMENT')
  })

  attack('root loss: the pre-committed keys alone rotate', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    // The publisher lost the current key: rotate() signs with the next one only.
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    const decision = install.cycle(await publisher.release({ signers: ['release 2'] }))
    expect(codeOf(decision)).toBe('accepted')
    expect(install.state.roles?.version).toBe(2)
  })

  attack('wrong software: another product or channel', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const beta = await publisher.release({ channel: 'beta' })
    expectRefused(install, beta, 'MAN_APP_MISMATCH')
    const other = await publisher.manifest({ place: { product: 'other' } })
    expectRefused(install, publisher.input(other, await publisher.head(other)), 'MAN_APP_MISMATCH')
    expectRefused(
      install,
      await publisher.release({}, { edit: (head) => ({ ...head, product: 'other' }) }),
      'MAN_APP_MISMATCH',
    )
    expectRefused(install, await publisher.release(), 'MAN_APP_MISMATCH', { product: 'other' })
  })

  attack('wrong document type', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const next = await publisher.release()
    const typed = (bytes: Uint8Array, from: string, to: string): Uint8Array =>
      utf8Encode(utf8Decode(bytes).replace(from, to))
    expectRefused(install, { ...next, head: typed(next.head, 'head+json', 'manifest+json') }, 'MAN_TYPE')
    expectRefused(install, { ...next, signatures: typed(next.signatures, 'manifest+json', 'head+json') }, 'MAN_TYPE')
    const roles = await signHead(publisher.rolesBytes[0] as Uint8Array, [signerOf('head 1')])
    expectRefused(install, { ...next, head: roles }, 'MAN_TYPE')
    expectRefused(install, { ...next, roles: next.manifest }, 'TRUST_ROLES')
  })

  attack('a signature made for another kind of document', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const next = await publisher.release()
    const bare = { publicKey: publicKeyOf('release 1'), sign: () => ed25519Sign(seedOf('release 1'), next.manifest) }
    expectRefused(install, { ...next, signatures: await signManifest(next.manifest, [bare]) }, 'MAN_SIGNATURE')
    const asHead = await signHead(next.manifest, [signerOf('release 1')])
    const { signatures } = JSON.parse(utf8Decode(asHead)) as { signatures: unknown }
    const swapped = { ...(JSON.parse(utf8Decode(next.signatures)) as object), signatures }
    expectRefused(install, { ...next, signatures: utf8Encode(JSON.stringify(swapped)) }, 'MAN_SIGNATURE')
    const shared = { ...publisher.roles, roles: { ...publisher.roles.roles, head: publisher.roles.roles.release } }
    expect(() => writeRoles(shared)).toThrow(expect.objectContaining({ code: 'TRUST_ROLES' }))
  })

  attack('format downgrade', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    for (const format of ['no-verify', 'M2PACK', 'm2pack ']) {
      expectRefused(install, await publisher.release({ edit: (model) => ({ ...model, format }) }), 'MAN_UNKNOWN_FORMAT')
    }
    expectRefused(
      install,
      await publisher.release({ edit: (model) => ({ ...model, critical: ['quantum'] }) }),
      'MAN_CRITICAL',
    )
    const known = await publisher.release({ place: { critical: ['content_keys'] } })
    expect(verifyRelease(known, install.state, options()).outcome).toBe('accepted')
    const archives = { archiveFormat: 2, critical: ['archive_format'] }
    const two = await publisher.release({ place: archives })
    expect(verifyRelease(two, install.state, options()).outcome).toBe('accepted')
    expectRefused(install, await publisher.release({ place: { ...archives, archiveFormat: 3 } }), 'MAN_UNKNOWN_FORMAT')
    const made = await publisher.manifest()
    const first = writeManifest({ ...made.model, schema: 1 })
    const sealed = await publisher.seal(first, made.model)
    expectRefused(install, publisher.input(sealed, await publisher.head(sealed)), 'MAN_DOWNGRADE')
  })

  attack('replay of a withdrawn release', async () => {
    const publisher = await Publisher.create()
    const bad = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(bad, await publisher.head(bad)))
    const revoked = [{ sequence: bad.pin.sequence, sha256: bad.pin.sha256 }]
    const head = await publisher.head(bad, { edit: (value) => ({ ...value, revoked }) })
    expectRefused(install, publisher.input(bad, head), 'MAN_REVOKED')
  })

  attack('equivocation between users: the log makes it a fork', async () => {
    const publisher = await Publisher.create()
    const twin = await Publisher.create()
    const install = await Install.with(publisher)
    await publisher.rotate()
    install.cycle(await publisher.release())
    await rivalRotation(twin)
    expectForked(install, { ...(await publisher.release()), logs: [twin.log()] }, 'KEL_DUPLICITY')
    expectRefused(install, await publisher.release(), 'TRUST_FORKED')
    // A rotation above the fork settles which side is right.
    await publisher.rotate()
    expect(codeOf(install.cycle(await publisher.release()))).toBe('accepted')
    expect(install.state.fork).toBeUndefined()
  })

  attack('path tricks', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    for (const path of BAD_PATHS) {
      const text = utf8Decode(made.bytes).replace('"config/locale.cfg"', JSON.stringify(path))
      const sealed = await publisher.seal(utf8Encode(text), made.model)
      const head = await publisher.head(sealed)
      publisher.headSequence -= 1
      const before = install.fingerprint()
      expect([path, codeOf(install.cycle(publisher.input(sealed, head)))]).toEqual([
        path,
        expect.stringMatching(/^MAN_(PATH|PATH_COLLISION|SCHEMA)$/),
      ])
      expect(install.fingerprint()).toBe(before)
    }
    for (const path of ['a?b', 'quo"te', 'x#y/%2e%2e/z']) {
      if (path.includes('#')) expect(() => checkPath(path)).not.toThrow()
      else expect(() => checkPath(path)).toThrow(expect.objectContaining({ code: 'MAN_PATH' }))
    }
  })

  attack('duplicate JSON keys, deep nesting, fractions, lone surrogates, __proto__', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const made = await publisher.manifest()
    const deep = `${'['.repeat(17)}${']'.repeat(17)}`
    for (const extra of [
      '"schema": 2, "schema": 2',
      `"x": ${deep}, "schema": 2`,
      '"x": 1.5, "schema": 2',
      '"x": 1e3, "schema": 2',
      '"x": "\\ud800", "schema": 2',
      '"__proto__": {"polluted": 1}, "schema": 2',
      '"\\u0073chema": 2, "schema": 2',
    ]) {
      const sealed = await publisher.seal(utf8Encode(utf8Decode(made.bytes).replace('"schema": 2', extra)), made.model)
      const head = await publisher.head(sealed)
      publisher.headSequence -= 1
      expectRefused(install, publisher.input(sealed, head), 'MAN_JSON')
    }
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  attack('a staged file that was swapped is not what the manifest covers', async () => {
    const publisher = await Publisher.create()
    const install = new Install(publisher.state())
    install.cycle(await publisher.release(), {}, () => utf8Encode('evil'))
    expect(install.tree.size).toBe(0)
  })

  attack('tampered local trust state', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const install = await Install.with(publisher, input)
    const stored = {
      log: publisher.log(),
      roles: publisher.rolesBytes,
      heads: [input.head],
      manifests: [{ manifest: input.manifest, signatures: input.signatures }],
    }
    const lowered = JSON.parse(utf8Decode(writeTrustState(install.state))) as {
      channels: { stable: { head_sequence: number } }
    }
    lowered.channels.stable.head_sequence = 9_000_000
    expect(parseTrustState(utf8Encode(JSON.stringify(lowered)))).not.toEqual(install.state)
    expect(rebuildTrustState(install.state.root, stored)).toEqual(install.state)
    const forged = await signHead(writeHead({ ...headOf(input.head), sequence: 500 }), [signerOf('stranger')])
    expect(rebuildTrustState(install.state.root, { ...stored, heads: [forged, input.head] })).toEqual(install.state)
    expect(rebuildTrustState(install.state.root, {})).toEqual(publisher.state())
  })

  attack('runtime key swapped: a key_id never comes back with other bytes', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const [key] = CONTENT_KEYS
    for (const change of [{ verifierPub: 'cc'.repeat(32) }, { commitment: 'cc'.repeat(32) }]) {
      const swapped = await publisher.release({
        place: { contentKeys: [{ ...(key as (typeof CONTENT_KEYS)[number]), ...change }] },
      })
      expectRefused(install, swapped, 'MAN_KEY_ID_REUSED')
    }
    const unlisted = await publisher.manifest({ edit: (model) => model })
    const text = utf8Decode(unlisted.bytes).replace(
      '"key_id": 1,\n      "verifier_pub"',
      '"key_id": 2,\n      "verifier_pub"',
    )
    const sealed = await publisher.seal(utf8Encode(text), unlisted.model)
    expectRefused(install, publisher.input(sealed, await publisher.head(sealed)), 'MAN_SCHEMA')
  })

  attack('revoked content key', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const revoked = CONTENT_KEYS.map((key) => ({ ...key, status: 'revoked' as const }))
    expectRefused(install, await publisher.release({ place: { contentKeys: revoked } }), 'MAN_KEY_REVOKED')
    const offline = verifyInstalled(
      { ...(install.documents as NonNullable<Install['documents']>), newestContentKeys: revoked },
      install.state,
    )
    expect(offline).toMatchObject({ playable: false, error: { code: 'MAN_KEY_REVOKED' } })
  })
})

describe('rest of the TUF conformance suite (16 rows)', () => {
  ported('refresh asks for exactly the documents that are due', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const asked = requestsOf(install, await publisher.release())
    expect(asked.map(({ document }) => document)).toEqual(['log', 'roles', 'kills', 'head', 'manifest', 'signatures'])
  })

  ported('an unusable pin refuses to start', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const [prefix, place] = publisher.pin().split('?') as [string, string]
    for (const text of [
      '',
      'did:keri:short',
      `${prefix}?sn=0`,
      `${prefix}?said=x&sn=01`,
      'key:00',
      `key:${'00'.repeat(32)}`,
    ]) {
      expect(() => parseTrustRoot(text)).toThrow(expect.objectContaining({ code: 'TRUST_INVALID' }))
    }
    const elsewhere = parseTrustRoot(`${prefix}?${place.replace('sn=0', 'sn=1')}`)
    expect(codeOf(verifyRelease(input, initialTrustState(elsewhere), options()))).toBe('TRUST_PIN')
    const stranger = await Publisher.create({ identity: 'stranger' })
    expect(codeOf(verifyRelease(input, stranger.state(), options()))).toBe('KEL_PREFIX')
    const bare = verifyRelease(input, initialTrustState(parseTrustRoot(prefix)), options())
    expect(bare.warnings).toMatchObject([{ code: 'TRUST_PIN' }])
  })

  ported('what is to be stored is byte for byte what came', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const decision = verifyRelease(input, publisher.state(), options())
    if (decision.outcome !== 'accepted') throw new Error('refused')
    expect(decision.manifestBytes).toBe(input.manifest)
    expect(decision.headBytes).toBe(input.head)
    expect(decision.authority?.rolesBytes).toBe(input.roles)
    expect(decision.authority?.logBytes).toBe(input.logs[0])
  })

  ported('custom fields inside signed bytes are ignored', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const text = utf8Decode(made.bytes).replace(
      '"schema": 2',
      '"x-note": {"constructor": {"hasOwnProperty": 1}}, "schema": 2',
    )
    const sealed = await publisher.seal(utf8Encode(text), made.model)
    const head = JSON.parse(utf8Decode(writeHead(headOf(await publisher.head(sealed))))) as Record<string, unknown>
    const payload = utf8Encode(JSON.stringify({ ...head, custom: { a: 1 } }))
    const decision = verifyRelease(
      { ...publisher.input(sealed, await signHead(payload, [signerOf('head 1')])) },
      publisher.state(),
      options(),
    )
    expect(codeOf(decision)).toBe('accepted')
  })

  ported('extra attributes of a signature change nothing', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const envelope = JSON.parse(utf8Decode(input.signatures)) as { signatures: object[] }
    envelope.signatures = envelope.signatures.map((entry) => ({ ...entry, keyid_hash_algorithms: ['md5'], cert: null }))
    expect(
      codeOf(
        verifyRelease({ ...input, signatures: utf8Encode(JSON.stringify(envelope)) }, publisher.state(), options()),
      ),
    ).toBe('accepted')
    const upper = utf8Encode(utf8Decode(input.signatures).replace(keyId('release 1'), keyId('release 1').toUpperCase()))
    expect(codeOf(verifyRelease({ ...input, signatures: upper }, publisher.state(), options()))).toBe('MAN_KEY_UNKNOWN')
  })

  ported('time comes in from outside and is fixed for the cycle', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const at = (nowMs: number): string => codeOf(verifyRelease(input, publisher.state(), options({ nowMs })))
    expect(at(NOW + 7 * DAY - 1000)).toBe('accepted')
    expect(at(NOW + 7 * DAY)).toBe('MAN_EXPIRED')
    expect(at(NOW - 30_000)).toBe('accepted')
    expect(at(NOW - 10 * 60_000)).toBe('TRUST_CLOCK')
    expect(() => verifyRelease(input, publisher.state(), options({ nowMs: Number.NaN }))).toThrow(RangeError)
  })

  ported('a key that is listed or signs twice refuses the document', async () => {
    const publisher = await Publisher.create()
    const { roles } = publisher.roles
    const doubled = {
      ...publisher.roles,
      roles: { ...roles, release: { keys: [keyId('a'), keyId('a')], threshold: 2 } },
    }
    expect(() => writeRoles(doubled)).toThrow(expect.objectContaining({ code: 'TRUST_ROLES' }))
    const input = await publisher.release()
    const envelope = JSON.parse(utf8Decode(input.head)) as { signatures: object[] }
    envelope.signatures.push(...envelope.signatures)
    expect(
      codeOf(verifyRelease({ ...input, head: utf8Encode(JSON.stringify(envelope)) }, publisher.state(), options())),
    ).toBe('MAN_THRESHOLD')
  })

  ported('a threshold above the number of keys is refused when the document is loaded', async () => {
    const publisher = await Publisher.create()
    const { roles } = publisher.roles
    for (const threshold of [0, -1, 2]) {
      const broken = { ...publisher.roles, roles: { ...roles, release: { ...roles.release, threshold } } }
      expect(() => writeRoles(broken)).toThrow(expect.objectContaining({ code: 'TRUST_ROLES' }))
    }
  })

  ported('keys and signatures of other kinds do not count and do not harm', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release()
    const envelope = JSON.parse(utf8Decode(input.signatures)) as { signatures: object[] }
    envelope.signatures.unshift({ keyid: 'rsa:1234', sig: 'AAAA' }, { keyid: 'ecdsa', sig: 'not base64!' })
    expect(
      codeOf(
        verifyRelease({ ...input, signatures: utf8Encode(JSON.stringify(envelope)) }, publisher.state(), options()),
      ),
    ).toBe('accepted')
  })

  ported('a rubbish or empty signature beside enough good ones is accepted', async () => {
    const publisher = await Publisher.create({ release: ['release 1', 'release 2'] })
    const input = await publisher.release()
    for (const sig of ['', 'AAAA', 'A'.repeat(86) + '==']) {
      const envelope = JSON.parse(utf8Decode(input.signatures)) as { signatures: object[] }
      envelope.signatures.push({ keyid: keyId('release 2'), sig })
      expect(
        codeOf(
          verifyRelease({ ...input, signatures: utf8Encode(JSON.stringify(envelope)) }, publisher.state(), options()),
        ),
      ).toBe('accepted')
    }
  })

  ported('a file leaves by being absent, a channel does not leave at all', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const fewer = await publisher.release({ entries: FILES.slice(1) })
    expect(codeOf(install.cycle(fewer))).toBe('accepted')
    expect(install.tree.has('Metin2.exe')).toBe(false)
    const { head, ...rest } = await publisher.release()
    expect(head.length).toBeGreaterThan(0)
    expectRefused(install, rest, 'MAN_MISSING')
  })

  ported('rotations of the root: 15 cases', async () => {
    for (const [name, next, signers, accepted] of ROOT_CASES) {
      const outcome = await rootCase(next, signers)
      expect([name, outcome]).toEqual([name, accepted])
    }
    expect(ROOT_CASES).toHaveLength(15)
  })

  ported('rotations of the roles release and head: 10 cases each', async () => {
    for (const role of ['release', 'head'] as const) {
      for (const [name, from, to, signers, accepted] of ROLE_CASES) {
        expect([role, name, await roleCase(role, from, to, signers)]).toEqual([role, name, accepted])
      }
    }
    expect(ROLE_CASES).toHaveLength(10)
  })

  ported('only blobs with the right hash and size are installed', async () => {
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    const entries = [...FILES, { path: 'sub/dir/new.txt', sha256: sha256Hex(utf8Encode('new file')), size: 8 }]
    const before = [...install.tree]
    for (const blob of ['new fil', 'new file ', 'other fi']) {
      install.cycle(await publisher.release({ entries }), {}, () => utf8Encode(blob))
      expect([...install.tree]).toEqual(before)
    }
    install.cycle(await publisher.release({ entries }))
    expect(install.tree.get('sub/dir/new.txt')).toBe(sha256Hex(utf8Encode('new file')))
    const wrongSize = await publisher.manifest({ edit: (model) => model })
    const twoSizes = [...FILES, { path: 'copy', sha256: FILES[0]?.sha256 ?? '', size: 4 }]
    await expect(publisher.manifest({ entries: twoSizes })).rejects.toMatchObject({ code: 'MAN_SCHEMA' })
    expect(wrongSize.pin.length).toBe(wrongSize.bytes.length)
  })

  ported('a long chain of rotations is walked in one cycle', async () => {
    // The published chains themselves go through tuf-js in second-opinion.test.ts.
    const publisher = await Publisher.create()
    const install = await Install.with(publisher)
    for (let turn = 2; turn <= 12; turn++) {
      const [release, head] = [keyId(`release ${turn}`), keyId(`head ${turn}`)]
      await publisher.rotate(() => ({
        roles: { release: { keys: [release], threshold: 1 }, head: { keys: [head], threshold: 1 } },
      }))
    }
    const decision = install.cycle(await publisher.release({ signers: ['release 12'] }, { signers: ['head 12'] }))
    expect(codeOf(decision)).toBe('accepted')
    expect(install.state.roles?.version).toBe(12)
  })

  ported('there are no delegations: no document names another role', async () => {
    const publisher = await Publisher.create()
    const made = JSON.parse(utf8Decode(publisher.rolesBytes[0] as Uint8Array)) as { roles: object }
    const extra = {
      ...made,
      roles: { ...made.roles, targets: { keys: [keyId('x')], threshold: 1 } },
      delegations: { keys: {} },
    }
    const parsed = parseRoles(utf8Encode(JSON.stringify(extra)))
    expect(Object.keys(parsed.roles)).toEqual(['release', 'head'])
    expect(parsed).not.toHaveProperty('delegations')
  })
})

afterAll(() => {
  expect(rows).toEqual({ named: 29, ported: 16 })
})
