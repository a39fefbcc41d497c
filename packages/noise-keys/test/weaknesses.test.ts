import { describe, expect, it } from 'vitest'
import { base64Encode, hexEncode, sha256, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  formatAnchor,
  formatKeyRecord,
  memoryDirectory,
  parseAnchor,
  signKeyBinding,
  signKeyList,
  signKeyRecord,
  verifyKeyList,
  verifyKeyRecord,
  parseKeyRecord,
} from '../src/index.ts'
import {
  addKey,
  deriveX25519Static,
  emptyMetadata,
  recoverTransportSecret,
  transportPublicKey,
} from '../src/owner/index.ts'
import { assertKeyUsable, assertUsable, verifyKeys, KeyFloors, preferredKey } from '../src/reader/index.ts'
import type { KeyDirectory, PublishedKeys } from '../src/index.ts'
import type { KeyVerdict, ReaderPolicy } from '../src/reader/index.ts'
import { HandshakeState, noiseKeyPair, noiseProtocol, NoiseSession, SessionRegistry } from '../src/noise/index.ts'
import { DAY_S, Peer, Publisher, publicKeyOf, START_S, summary } from './publisher.ts'
import { clientKey, shake } from './noise-pairs.ts'
import { codeOf, rejectionOf } from './support.ts'

const publisher = new Publisher()
const { identity, seed } = publisher
const deviceKey = (label: string): Uint8Array => transportPublicKey(sha256(utf8Encode(label)))
const published = (records: Record<string, string>, more: Partial<PublishedKeys> = {}): PublishedKeys => ({
  records: new Map(Object.entries(records)),
  ...more,
})

/** A plain record of the guide. */
function plain(publicKey: Uint8Array, device: string, timestampS?: number, tail = ''): string {
  const bound = {
    format: 'plain',
    publicKey,
    revoked: false,
    bindingSignature: signKeyBinding(seed, publicKey, device),
  } as const
  return formatKeyRecord({ ...bound, ...(timestampS === undefined ? {} : { timestampS }) }) + tail
}

function verify(
  found: PublishedKeys,
  floors = new KeyFloors(),
  nowS = START_S,
  policy: Partial<ReaderPolicy> = {},
): KeyVerdict[] {
  return verifyKeys(identity, found, floors, { nowS, policy })
}

/** A publisher with one published key, and a copy of all that was published. */
async function firstKey(): Promise<{ owner: Publisher; peer: Peer; copy: PublishedKeys }> {
  const owner = new Publisher()
  owner.add('server')
  await owner.publish()
  const copy = await owner.directory.read(owner.identity)
  return { owner, peer: new Peer(), copy }
}

/** A directory that gives what somebody who controls the network wants. */
function attacker(give: () => PublishedKeys | Error): KeyDirectory {
  return {
    ...memoryDirectory('attacker'),
    read: () => {
      const answer = give()
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    },
  }
}

describe('weaknesses of the guide, closed', () => {
  it('W1: date, state, sequence and end are under a signature', () => {
    const record = signKeyRecord(seed, 'server', {
      publicKey: deviceKey('a'),
      timestampS: START_S,
      sequence: 1,
      expiresS: START_S + DAY_S,
      state: 'active',
    })
    for (const [from, to] of [
      [`ts=${START_S}`, `ts=${START_S + 1}`],
      ['seq=1', 'seq=2'],
      [`exp=${START_S + DAY_S}`, `exp=${START_S + DAY_S + 1}`],
      ['st=active', 'st=next'],
    ] as const) {
      const changed = parseKeyRecord(record.replace(from, to))
      expect(codeOf(() => verifyKeyRecord(changed, { identity: identity.publicKey, deviceId: 'server' }))).toBe(
        'NK_BINDING_SIGNATURE',
      )
    }
  })

  it('W2: a revocation cannot be stripped, and nobody else can add one (row 151)', async () => {
    const { owner, peer } = await firstKey()
    await peer.look(owner)
    owner.revoke('server')
    await owner.publish('revocation')
    const current = await owner.directory.read(owner.identity)
    expect(summary(await peer.look(owner))).toEqual(['server: revoked NK_REVOKED'])
    const stripped = (current.records.get('server') ?? '').replace(/;ts=.*$/, '')
    const forged = `${stripped};sig=${base64Encode(signKeyBinding(seed, publicKeyOf(owner, 'server'), 'server'))};ts=${START_S}`
    // Also to a reader who never saw the record with state: the list, anchored, does not name the device.
    for (const reader of [peer, new Peer()]) {
      const verdicts = await reader.look(
        owner,
        { requireSigned: true },
        attacker(() => ({ ...current, records: new Map([['server', forged]]) })),
      )
      expect(verdicts.some(({ verdict }) => verdict === 'ok' || verdict === 'legacy')).toBe(false)
    }
    const { owner: other, peer: witness, copy } = await firstKey()
    await witness.look(other)
    const added = `${(copy.records.get('server') ?? '').replace(/;seq=.*$/, '')};revoked=true`
    expect(
      summary(
        await witness.look(
          other,
          {},
          attacker(() => ({ ...copy, records: new Map([['server', added]]) })),
        ),
      ),
    ).toEqual(['server: rolled-back NK_DOWNGRADE'])
    expect(summary(await witness.look(other))).toEqual(['server: ok'])
  })

  it('W3: an old record, list or packet is a rollback; the newest seen is kept (row 152)', async () => {
    const { owner, peer, copy } = await firstKey()
    await peer.look(owner)
    owner.nowS += DAY_S
    owner.announce()
    owner.revoke('server', 'compromise')
    owner.cutOver()
    await owner.publish('revocation')
    await peer.look(owner)
    const replayed = await peer.look(
      owner,
      {},
      attacker(() => copy),
    )
    expect(summary(replayed)).toEqual(['server: rolled-back NK_ROLLBACK'])
    expect(codeOf(() => assertUsable(replayed[0] as KeyVerdict))).toBe('NK_ROLLBACK')
    const now = await owner.directory.read(owner.identity)
    const mixed = await peer.look(
      owner,
      {},
      attacker(() => ({ ...now, records: new Map([...now.records, ['server', copy.records.get('server') ?? '']]) })),
    )
    expect(summary(mixed)).toEqual(['server-v2: ok', 'server: rolled-back NK_ROLLBACK'])
    expect(summary(await peer.look(owner))).toEqual(['server-v2: ok', 'server: revoked NK_REVOKED'])
    // The floors are a file: a restart forgets nothing.
    const restarted = KeyFloors.parse(peer.floors.format())
    expect(summary(verifyKeys(owner.identity, copy, restarted, { nowS: owner.nowS }))).toEqual([
      'server: rolled-back NK_ROLLBACK',
    ])
  })

  it('W3: a date moved forward makes a plain key no younger', () => {
    const floors = new KeyFloors()
    const key = deviceKey('a')
    expect(verify(published({ a: plain(key, 'a', START_S - 364 * DAY_S) }), floors)[0]?.verdict).toBe('legacy')
    expect(summary(verify(published({ a: plain(key, 'a', START_S) }), floors, START_S + 2 * DAY_S))).toEqual([
      'a: expired NK_STALE',
    ])
  })

  it('W4, W5: every spelling of the flag is obeyed', () => {
    for (const flag of [
      ';revoked=true',
      ';revoked=TRUE',
      ';revoked=1',
      '; revoked=true',
      ';revoked =yes',
      ';revoked=truex',
      ';revoked=',
    ]) {
      expect(summary(verify(published({ a: plain(deviceKey('a'), 'a', START_S, flag) })))).toEqual([
        'a: revoked NK_REVOKED',
      ])
    }
    expect(summary(verify(published({ a: `revoked=true;${plain(deviceKey('a'), 'a', START_S)}` })))).toEqual([
      'a: revoked NK_REVOKED',
    ])
    expect(verify(published({ a: plain(deviceKey('a'), 'a', START_S, ';revoked=false') }))[0]?.verdict).toBe('legacy')
    expect(verify(published({ a: plain(deviceKey('a'), 'a', START_S, ';note=x,revoked=true') }))[0]?.verdict).toBe(
      'legacy',
    )
    const floors = new KeyFloors()
    verify(published({ a: plain(deviceKey('a'), 'a', START_S, ';revoked=1') }), floors)
    expect(summary(verify(published({ a: plain(deviceKey('a'), 'a', START_S) }), floors))).toEqual([
      'a: revoked NK_REVOKED',
    ])
  })

  it('W6: device id and context may differ; the signature is over the device id, and verifies', async () => {
    const owner = new Publisher()
    const publicKey = deviceKey('derived with another context')
    owner.metadata = addKey(
      owner.metadata,
      { device: 'device-v2', publicKey, generation: 'G2', context: 'device-2024-q2' },
      owner.nowS,
    )
    await owner.publish()
    expect(summary(await new Peer().look(owner))).toEqual(['device-v2: ok'])
    expect(owner.metadata.keys[0]).toMatchObject({ device: 'device-v2', context: 'device-2024-q2' })
  })

  it('W7: a peer who knows nothing but the identity finds the rotated key', async () => {
    const { owner } = await firstKey()
    owner.announce()
    owner.cutOver()
    await owner.publish()
    expect(preferredKey(await new Peer().look(owner)).device).toBe('server-v2')
  })

  it('W8: an honest key stays readable until its rotation and beyond', async () => {
    const { owner, peer } = await firstKey()
    for (const days of [31, 60, 90])
      expect(summary(await peer.look(Object.assign(owner, { nowS: START_S + days * DAY_S })))[0]).toMatch(
        /server: (ok|expired)/,
      )
    const { owner: kept } = await firstKey()
    kept.nowS += 60 * DAY_S
    await kept.publish()
    kept.nowS += 40 * DAY_S
    expect(summary(await new Peer().look(kept))).toEqual(['server: ok'])
  })

  it('W9: every lookup checks the date (row 153)', () => {
    const at = (timestampS: number | string): string[] => {
      const text =
        typeof timestampS === 'number'
          ? plain(deviceKey('a'), 'a', timestampS)
          : plain(deviceKey('a'), 'a', undefined, `;ts=${timestampS}`)
      return summary(verify(published({ a: text })))
    }
    expect(at(START_S - 366 * DAY_S)).toEqual(['a: expired NK_STALE'])
    expect(at(START_S - 364 * DAY_S)).toEqual(['a: legacy'])
    expect(at(START_S + 600)).toEqual(['a: unverifiable NK_FUTURE'])
    expect(at(START_S + 300)).toEqual(['a: legacy'])
    for (const bad of ['9223372036854775808', '1e9', '-1']) expect(at(bad)).toEqual(['a: unverifiable NK_RECORD'])
    expect(summary(verify(published({ a: plain(deviceKey('a'), 'a') })))).toEqual(['a: expired NK_STALE'])
  })

  it('W10: blocking lookups keeps a revoked key alive for a day at most', async () => {
    const { owner, peer } = await firstKey()
    await peer.look(owner)
    owner.revoke('server')
    await owner.publish('revocation')
    const { NoiseKeysError } = await import('../src/index.ts')
    const blocked = attacker(() => new NoiseKeysError('NK_UNREACHABLE', 'blocked'))
    owner.nowS += DAY_S
    expect(summary(await peer.look(owner, {}, blocked))).toEqual(['server: ok'])
    owner.nowS += 1
    expect(summary(await peer.look(owner, {}, blocked))).toEqual(['server: unreachable NK_UNREACHABLE'])
    expect(summary(await peer.look(owner, { offlineGraceS: 60 }, blocked))).toEqual(['server: ok'])
    expect(await rejectionOf(new Peer().look(owner, {}, blocked))).toBe('NK_UNREACHABLE')
    // Withholding the list does no better: what was there before is missed.
    const bare = attacker(() =>
      published({ server: [...(peer.floors.of(owner.identity.name).devices['server']?.text ?? '')].join('') }),
    )
    expect(summary(await peer.look(owner, {}, bare))).toEqual(['server: unverifiable NK_UNVERIFIABLE'])
  })

  it('W11: the old secret is there until the overlap ends, and is named for wiping then', async () => {
    const { owner } = await firstKey()
    owner.announce()
    owner.cutOver()
    const [old] = owner.metadata.keys
    expect(old?.state).toBe('retiring')
    expect(transportPublicKey(recoverTransportSecret(seed, old as never))).toEqual(publicKeyOf(owner, 'server'))
    owner.nowS += owner.metadata.policy.overlapS
    expect(owner.retire()).toEqual(['server'])
  })

  it('W13: a retired or revoked key cannot come back from a copy after its record is gone', async () => {
    const { owner, copy } = await firstKey()
    owner.announce()
    owner.cutOver()
    owner.nowS += owner.metadata.policy.overlapS
    owner.retire()
    await owner.publish()
    const now = await owner.directory.read(owner.identity)
    const newcomer = new Peer()
    const verdicts = await newcomer.look(
      owner,
      {},
      attacker(() => ({ ...now, records: new Map([...now.records, ['server', copy.records.get('server') ?? '']]) })),
    )
    expect(summary(verdicts)).toEqual(['server-v2: ok', 'server: retired NK_STALE'])
    expect(codeOf(() => assertKeyUsable(verdicts, publicKeyOf(owner, 'server')))).toBe('NK_STALE')
  })

  it('W15: a revocation that is learnt ends the sessions with that key, and only those', async () => {
    const { owner, peer } = await firstKey()
    await peer.look(owner)
    const statics = noiseKeyPair(
      noiseProtocol('Noise_IK_25519_ChaChaPoly_SHA256').dh,
      deriveX25519Static(seed, 'server'),
    )
    const client = new HandshakeState('Noise_IK_25519_ChaChaPoly_SHA256', {
      role: 'initiator',
      staticKey: clientKey,
      remoteStatic: publicKeyOf(owner, 'server'),
    })
    const registry = new SessionRegistry()
    const [session] = shake([
      client,
      new HandshakeState('Noise_IK_25519_ChaChaPoly_SHA256', { role: 'responder', staticKey: statics }),
    ]).map((result) => registry.add(new NoiseSession(result)))
    expect(registry.enforce(await peer.look(owner))).toBe(0)
    owner.revoke('server')
    await owner.publish('revocation')
    expect(registry.enforce(await peer.look(owner))).toBe(1)
    expect(session?.ended).toBe('revoked')
    expect(registry.size).toBe(1)
  })

  it('W16: a device may make its own random key, bound and published the same way', async () => {
    const owner = new Publisher()
    const publicKey = deviceKey('made on the device')
    owner.metadata = addKey(
      emptyMetadata(owner.identity.name),
      { device: 'phone', publicKey, generation: 'random' },
      owner.nowS,
    )
    await owner.publish()
    expect(assertKeyUsable(await new Peer().look(owner), publicKey).verdict).toBe('ok')
    expect(codeOf(() => recoverTransportSecret(seed, owner.metadata.keys[0] as never))).toBe('NK_KDF')
  })
})

describe('verifyKeys()', () => {
  it('exports both documents as evidence when two have one number', async () => {
    const { owner, peer, copy } = await firstKey()
    await peer.look(owner)
    const fork = new Publisher()
    fork.add('server')
    fork.nowS += 5
    await fork.publish()
    const forked = await fork.directory.read(fork.identity)
    const [verdict] = await peer.look(
      owner,
      {},
      attacker(() => forked),
    )
    expect(verdict).toMatchObject({ verdict: 'equivocation', code: 'NK_EQUIVOCATION' })
    expect(verdict?.evidence?.documents).toEqual([copy.records.get('server'), forked.records.get('server')])
    const second = new Peer()
    await second.look(owner)
    const list = await second.look(
      owner,
      {},
      attacker(() => ({ ...copy, list: forked.list as Uint8Array })),
    )
    expect(list[0]).toMatchObject({ verdict: 'equivocation' })
  })

  it('wants list, anchor and record to agree', async () => {
    const { owner, copy } = await firstKey()
    const { list, packet: _packet, ...bare } = copy
    const look = (found: PublishedKeys, nowS = owner.nowS): string[] =>
      summary(verifyKeys(owner.identity, found, new KeyFloors(), { nowS }))
    expect(look({ ...bare, list: list as Uint8Array })).toEqual(['server: ok'])
    expect(look({ ...bare, list: list as Uint8Array }, owner.nowS + DAY_S + 1)).toEqual([
      'server: unverifiable NK_UNVERIFIABLE',
    ])
    expect(look(bare)).toEqual(['server: unverifiable NK_UNVERIFIABLE'])
    expect(look({ ...copy, records: new Map() })).toEqual(['server: unverifiable NK_UNVERIFIABLE'])
    expect(look({ ...copy, list: utf8Encode('nonsense') })).toEqual(['server: unverifiable NK_RECORD'])
    const stranger = signKeyRecord(seed, 'stranger', {
      publicKey: deviceKey('s'),
      timestampS: START_S,
      sequence: 1,
      expiresS: START_S + DAY_S,
      state: 'active',
    })
    expect(look({ ...copy, records: new Map([...copy.records, ['stranger', stranger]]) })).toEqual([
      'server: ok',
      'stranger: unverifiable NK_NOT_ACTIVE',
    ])
    expect(look(copy, START_S - 301)).toEqual(['server: unverifiable NK_FUTURE'])
    expect(look(copy, START_S + 400 * DAY_S)).toEqual(['server: expired NK_EXPIRED'])
  })

  it('a key has one identity whatever its spelling (row 145)', async () => {
    const { owner, peer } = await firstKey()
    const verdicts = await peer.look(owner)
    const spelled = publicKeyOf(owner, 'server').map((byte, at) => (at === 31 ? byte | 128 : byte))
    expect(assertKeyUsable(verdicts, spelled).device).toBe('server')
    expect(codeOf(() => assertKeyUsable(verdicts, deviceKey('nobody')))).toBe('NK_KEY_UNKNOWN')
    expect(codeOf(() => preferredKey([]))).toBe('NK_NOT_FOUND')
  })

  it('a device called like a property of objects is just a name', async () => {
    const owner = new Publisher()
    owner.add('constructor')
    await owner.publish()
    const peer = new Peer()
    expect(summary(await peer.look(owner))).toEqual(['constructor: ok'])
    expect(
      summary(
        verifyKeys(owner.identity, await owner.directory.read(owner.identity), KeyFloors.parse(peer.floors.format()), {
          nowS: owner.nowS,
        }),
      ),
    ).toEqual(['constructor: ok'])
  })

  it('a device called __proto__ is refused and harms no file', async () => {
    const { owner, peer, copy } = await firstKey()
    const record = signKeyRecord(seed, 'server', {
      publicKey: deviceKey('p'),
      timestampS: START_S,
      sequence: 1,
      expiresS: START_S + DAY_S,
      state: 'active',
    })
    const verdicts = await peer.look(
      owner,
      {},
      attacker(() => ({ ...copy, records: new Map([...copy.records, ['__proto__', record]]) })),
    )
    expect(summary(verdicts)).toEqual(['server: ok', '__proto__: unverifiable NK_DEVICE_ID'])
    expect(KeyFloors.parse(peer.floors.format()).of(owner.identity.name).devices).toHaveProperty('server')
    expect(
      codeOf(() =>
        signKeyRecord(seed, '__proto__', {
          publicKey: deviceKey('p'),
          timestampS: 1,
          sequence: 1,
          expiresS: 2,
          state: 'active',
        }),
      ),
    ).toBe('NK_DEVICE_ID')
  })

  it('what was signed beforehand and leaks early outranks nothing', async () => {
    const { owner, peer, copy } = await firstKey()
    await peer.look(owner)
    const ahead = new Publisher()
    ahead.add('server')
    await ahead.publish()
    ahead.nowS += 30 * DAY_S
    ahead.announce()
    await ahead.publish()
    const leaked = await ahead.directory.read(ahead.identity)
    const early = await peer.look(
      owner,
      {},
      attacker(() => leaked),
    )
    expect(early.map(({ code }) => code)).toEqual(['NK_FUTURE', 'NK_FUTURE'])
    expect(
      summary(
        await peer.look(
          owner,
          {},
          attacker(() => copy),
        ),
      ),
    ).toEqual(['server: ok'])
    owner.nowS += 30 * DAY_S
    expect(
      summary(
        await peer.look(
          owner,
          {},
          attacker(() => leaked),
        ),
      ),
    ).toEqual(['server: ok', 'server-v2: next NK_NOT_ACTIVE'])
  })

  it('floors that are damaged are NK_METADATA', () => {
    for (const bad of ['', '{}', '{"version":2,"identities":{}}', '{"version":1,"identities":{"x":{}}}'])
      expect(codeOf(() => KeyFloors.parse(utf8Encode(bad)))).toBe('NK_METADATA')
  })
})

describe('key list and anchor', () => {
  const list = {
    identity: identity.name,
    seq: 1,
    ts: START_S,
    exp: START_S + DAY_S,
    prev: null,
    entries: [],
    tombstones: [],
  }

  it('are refused when any byte is changed, or when written in another way', () => {
    const bytes = signKeyList(seed, list)
    verifyKeyList(identity.publicKey, bytes)
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = bytes.map((byte, position) => (position === at ? byte ^ 1 : byte))
      expect(codeOf(() => verifyKeyList(identity.publicKey, changed))).toMatch(/^NK_(BINDING_SIGNATURE|RECORD)$/)
    }
    const text = utf8Decode(bytes)
    for (const bad of ['', `${text}\n`, text.trim(), text.replace('{', '{ '), text.replace('"seq":1', '"seq":01')]) {
      expect(codeOf(() => verifyKeyList(identity.publicKey, utf8Encode(bad)))).toMatch(
        /^NK_(BINDING_SIGNATURE|RECORD)$/,
      )
    }
    const entry = {
      device: 'a',
      k: base64Encode(deviceKey('a')),
      state: 'active',
      from: 1,
      record: '00'.repeat(32),
    } as const
    const wrong = [
      { seq: 0 },
      { exp: START_S },
      { prev: 'x' },
      { identity: 'y' },
      { entries: [{ ...entry, state: 'revoked' }] },
      { entries: [entry, entry] },
      { entries: [{ ...entry, until: 5 }] },
      { entries: [{ ...entry, k: 'x' }] },
      { tombstones: [{ k: entry.k, why: 'because', at: 1, until: 2 }] },
      { tombstones: [7] },
    ]
    for (const change of wrong)
      expect(codeOf(() => verifyKeyList(identity.publicKey, signKeyList(seed, { ...list, ...change } as never)))).toBe(
        'NK_RECORD',
      )
  })

  it('the anchor has one spelling', () => {
    const anchor = { seq: 7, listSha256: sha256(utf8Encode('list')), ts: START_S }
    const text = formatAnchor(anchor)
    expect(parseAnchor(text)).toEqual(anchor)
    expect(text.length).toBeLessThan(80)
    for (const bad of [
      '',
      `${text};`,
      text.replace('n=7', 'n=07'),
      text.replace('n=7', 'n=0'),
      text.replace('v=1', 'v=2'),
      text.replace(';h=', ';H='),
      ` ${text}`,
    ]) {
      expect(codeOf(() => parseAnchor(bad))).toBe('NK_RECORD')
    }
    expect(hexEncode(anchor.listSha256)).toHaveLength(64)
  })
})
