import { concatBytes, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { sha256DigestSeal } from '@keyturn/kel'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  allFilesFor,
  componentsFor,
  diffManifests,
  filesFor,
  foldPath,
  formatTrustRoot,
  initialTrustState,
  limits,
  ManifestError,
  manifestErrors,
  matchesGlob,
  parseHead,
  parseHeadEnvelope,
  parseManifest,
  parseRoles,
  parseSignatures,
  parseTime,
  parseTrustRoot,
  parseTrustState,
  sealedRoles,
  verifyRelease,
  writeTrustState,
} from '../src/index.ts'
import {
  addHeadSignature,
  checkPath,
  formatTime,
  signHead,
  signManifest,
  writeHead,
  writeRoles,
} from '../src/publish/index.ts'
import type { Head, RoleDocument, TrustState } from '../src/index.ts'
import { headOf } from './support/attack-cases.ts'
import { codeOf } from './support/outcome.ts'
import { DAY, FILES, keyId, NOW, options, Publisher, signerOf } from './support/publisher.ts'

function code(act: () => unknown): string {
  try {
    act()
    return 'accepted'
  } catch (error) {
    if (error instanceof ManifestError) return error.code
    throw error
  }
}

describe('heads', () => {
  it('take mirrors only where a plain folder is meant (row 88)', async () => {
    const publisher = await Publisher.create()
    const head = headOf(await publisher.head(await publisher.manifest()))
    const mirror = (url: string): string => code(() => writeHead({ ...head, mirrors: [{ url, weight: 1 }] }))
    for (const url of [
      'https://cdn.example.org/',
      'http://cdn.example.org/a/b-c_d~e/',
      'https://localhost:8443/x/',
      'https://cdn.example.org:443/',
    ]) {
      expect([url, mirror(url)]).toEqual([url, 'accepted'])
    }
    for (const url of [
      'file:///etc/',
      'data:text/plain,x',
      'ftp://x/',
      'https://user:pass@x.example/',
      'https://x.example/../',
      'https://x.example/a/./',
      'https://x.example:22/',
      'https://[::1]/',
      'https://x.example/a',
      'https://x.example/?q',
      'https://x.example/#f',
      'https://x.example/%2e%2e/',
      'https://x.example:99999/',
      'HTTPS://X.EXAMPLE/',
      'https:///',
      'https://x.example//',
      'https://-x/',
      '//x.example/',
      'https://x.example/ ',
    ]) {
      expect([url, mirror(url)]).toEqual([url, 'MAN_URL'])
    }
  })

  it('last thirty days at most, and end after they begin', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const lasting =
      (ms: number): ((head: Head) => Head) =>
      (head) => ({ ...head, expiresAt: formatTime(NOW + ms) })
    for (const ms of [30 * DAY + 1000, 0, -1000])
      await expect(publisher.head(made, { edit: lasting(ms) })).rejects.toMatchObject({ code: 'MAN_SCHEMA' })
    await expect(publisher.head(made, { edit: lasting(30 * DAY) })).resolves.toBeDefined()
  })

  it('are read as they were written, whatever they hold', async () => {
    const publisher = await Publisher.create()
    const head = headOf(await publisher.head(await publisher.manifest()))
    const digest = fc.stringMatching(/^[0-9a-f]{64}$/)
    const pin = fc.record({
      version: fc.constant('2026.11.21-1'),
      sequence: fc.integer({ min: 1 }),
      sha256: digest,
      length: fc.integer({ min: 2, max: limits.manifestBytes }),
    })
    const arbitrary = fc.record({
      manifest: pin,
      fallback: pin,
      sequence: fc.integer({ min: 1 }),
      epoch: fc.nat(),
      rollout: fc.record({
        percent: fc.integer({ min: 0, max: 100 }),
        salt: fc.stringMatching(/^[0-9a-f]{32}$/),
        paused: fc.boolean(),
      }),
      preload: fc.record({
        version: fc.constant('2.0'),
        sequence: fc.constant(Number.MAX_SAFE_INTEGER),
        sha256: fc.constant('0'.repeat(64)),
        length: fc.integer({ min: 2, max: limits.manifestBytes }),
        at: fc.constant('2026-12-04T18:00:00Z'),
      }),
      revoked: fc.array(fc.record({ sequence: fc.integer({ min: 1 }), sha256: digest }), { maxLength: 5 }),
      mirrors: fc.array(fc.record({ url: fc.constant('https://a.example/'), weight: fc.nat(1000) }), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(arbitrary, (change) => {
        fc.pre(change.manifest.sequence < change.preload.sequence)
        expect(parseHead(writeHead({ ...head, ...change }))).toEqual({ ...head, ...change })
      }),
    )
  })

  it('preload only a release that is newer than the one on offer and not withdrawn', async () => {
    const publisher = await Publisher.create()
    const offered = await publisher.manifest()
    const later = await publisher.manifest()
    const head = headOf(await publisher.head(offered))
    const preload = { ...later.pin, at: formatTime(NOW + 3 * DAY) }
    expect(parseHead(writeHead({ ...head, preload })).preload).toEqual(preload)
    const { sequence, sha256 } = later.pin
    for (const change of [
      { preload: { ...preload, sequence: offered.pin.sequence } },
      { preload: { ...preload, at: '2026-12-04' } },
      { preload, revoked: [{ sequence, sha256 }] },
    ])
      expect(code(() => writeHead({ ...head, ...change }))).toBe('MAN_SCHEMA')
  })

  it('offer a preload to nobody: what is installed is what the head pins', async () => {
    const publisher = await Publisher.create()
    const offered = await publisher.manifest()
    const later = await publisher.manifest()
    const head = await publisher.head(offered, {
      edit: (made) => ({ ...made, preload: { ...later.pin, at: formatTime(NOW + DAY) } }),
    })
    const state = publisher.state()
    expect(verifyRelease(publisher.input(offered, head), state, options())).toMatchObject({
      outcome: 'accepted',
      manifest: { sequence: offered.pin.sequence },
      head: { preload: { sequence: later.pin.sequence } },
    })
    expect(verifyRelease(publisher.input(later, head), state, options())).toMatchObject({
      outcome: 'refused',
      error: { code: 'MAN_PIN' },
    })
  })

  it('count for the days that the role document allows, whatever they say themselves', async () => {
    const ends = async (headDays: number | undefined, ownDays: number): Promise<number> => {
      const publisher = await Publisher.create(headDays === undefined ? {} : { headDays })
      const made = await publisher.manifest()
      const head = await publisher.head(made, {
        edit: (one) => ({ ...one, expiresAt: formatTime(NOW + ownDays * DAY) }),
      })
      const state = publisher.state()
      const outcome = (days: number): string =>
        verifyRelease(publisher.input(made, head), state, options({ nowMs: NOW + days * DAY })).outcome
      let days = 0
      while (outcome(days) === 'accepted') days++
      return days
    }
    expect(await ends(undefined, 30)).toBe(7)
    expect(await ends(undefined, 3)).toBe(3)
    expect(await ends(2, 7)).toBe(2)
    expect(await ends(30, 30)).toBe(30)
  })

  it('pin no version that leads out of a folder', async () => {
    const publisher = await Publisher.create()
    const head = headOf(await publisher.head(await publisher.manifest()))
    for (const version of ['../../x', '.x', 'a/b', 'a\\b', '1\u001b[2J']) {
      const pin = { ...head.manifest, version }
      expect([
        version,
        code(() => writeHead({ ...head, manifest: pin })),
        code(() => writeHead({ ...head, fallback: pin })),
      ]).toEqual([version, 'MAN_SCHEMA', 'MAN_SCHEMA'])
    }
  })

  it('stay within their limit', async () => {
    const publisher = await Publisher.create()
    const head = headOf(await publisher.head(await publisher.manifest()))
    const revoked = Array.from({ length: 300 }, (_, index) => ({ sequence: index + 1, sha256: 'ab'.repeat(32) }))
    expect(code(() => writeHead({ ...head, revoked }))).toBe('MAN_LIMIT')
  })
})

describe('envelopes', () => {
  it('gain signatures and keep those they have', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const both = await signManifest(made.bytes, [signerOf('release 2')], made.signatures)
    expect(
      parseSignatures(both)
        .signatures.map(({ keyid }) => keyid)
        .sort(),
    ).toEqual([keyId('release 1'), keyId('release 2')].sort())
    expect(await signManifest(made.bytes, [signerOf('release 1')], both)).toEqual(both)
    const other = await publisher.manifest()
    await expect(signManifest(other.bytes, [], made.signatures)).rejects.toMatchObject({ code: 'MAN_PIN' })
    const head = await addHeadSignature(await publisher.head(made), [signerOf('head 2')])
    expect(parseHeadEnvelope(head).signatures).toHaveLength(2)
  })

  it('read any bytes or throw their own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(utf8Encode)), (bytes) => {
        for (const parse of [parseSignatures, parseHeadEnvelope, parseHead, parseRoles, parseManifest, parseTrustState])
          code(() => parse(bytes))
      }),
    )
  })
})

describe('role documents', () => {
  it('keep their rules', async () => {
    const { roles: good } = await Publisher.create()
    const { release, head } = good.roles
    const broken: [string, Partial<RoleDocument>][] = [
      ['valid for 401 days', { expiresAt: formatTime(NOW + 401 * DAY) }],
      ['over before it begins', { expiresAt: formatTime(NOW) }],
      ['a key in two roles', { roles: { release, head: release } }],
      ['a key in a role and revoked', { revokedKeys: [...release.keys] }],
      ['no key', { roles: { release: { keys: [], threshold: 1 }, head } }],
      [
        '17 keys',
        {
          roles: { release: { keys: Array.from({ length: 17 }, (_, index) => keyId(`${index}`)), threshold: 1 }, head },
        },
      ],
      ['a weak key', { roles: { release: { keys: ['00'.repeat(32)], threshold: 1 }, head } }],
      ['a key that is not canonical', { roles: { release: { keys: [`ee${'ff'.repeat(30)}7f`], threshold: 1 }, head } }],
      ['a revoked key twice', { revokedKeys: [keyId('x'), keyId('x')] }],
      ['a transport identity that is none', { transport: ['x'] }],
      ['version 0', { version: 0 }],
    ]
    for (const [name, change] of broken)
      expect([name, code(() => writeRoles({ ...good, ...change }))]).toEqual([name, 'TRUST_ROLES'])
    expect(parseRoles(writeRoles(good))).toEqual(good)
  })

  it('are numbered by their changes, and one that comes back gets a new number', async () => {
    const publisher = await Publisher.create()
    const first = publisher.rolesBytes[0] as Uint8Array
    await publisher.rotate(() => ({ expiresAt: formatTime(NOW + 5 * DAY) }))
    await publisher.rotate(undefined, [sha256DigestSeal(first)])
    const { verifyLog } = await import('@keyturn/kel')
    expect(sealedRoles(verifyLog(publisher.log())).map(({ version, sn }) => [version, sn])).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
    ])
    // It calls itself 1 and the log seals it as 3: nobody may bring an old document back.
    const input = await publisher.release()
    expect(codeOf(verifyRelease({ ...input, roles: first }, publisher.state(), options()))).toBe('TRUST_ROLES')
  })

  it('need a log without gaps', async () => {
    const publisher = await Publisher.create()
    await publisher.rotate()
    await publisher.rotate()
    const input = await publisher.release()
    const gap = concatBytes(publisher.messages[0] as Uint8Array, publisher.messages[2] as Uint8Array)
    expect(codeOf(verifyRelease({ ...input, logs: [gap] }, publisher.state(), options()))).toMatch(/^KEL_/)
  })

  it('are found behind a log that repeats an event', async () => {
    const publisher = await Publisher.create()
    await publisher.rotate()
    const input = await publisher.release()
    const repeated = concatBytes(publisher.messages[0] as Uint8Array, ...publisher.messages)
    expect(codeOf(verifyRelease({ ...input, logs: [repeated] }, publisher.state(), options()))).toBe('accepted')
  })
})

describe('limits of a manifest', () => {
  it('hold for files, notes and lists (row 83)', async () => {
    const publisher = await Publisher.create()
    const { bytes } = await publisher.manifest()
    const base = JSON.parse(utf8Decode(bytes)) as Record<string, unknown>
    const withChange = (change: object): string =>
      code(() => parseManifest(utf8Encode(JSON.stringify({ ...base, totals: undefined, ...change }))))
    const file = { path: 'a', sha256: 'ab'.repeat(32), size: 1 }
    expect(withChange({ files: Array.from({ length: limits.files + 1 }, () => file) })).toBe('MAN_LIMIT')
    expect(withChange({ notes: 'é'.repeat(limits.notesBytes / 2 + 1) })).toBe('MAN_SCHEMA')
    expect(withChange({ critical: Array.from({ length: 1025 }, (_, index) => `f${index}`) })).toBe('MAN_LIMIT')
    expect(withChange({ files: [{ ...file, size: limits.blobBytes + 1 }] })).toBe('MAN_SCHEMA')
    expect(
      withChange({
        files: [{ ...file, index: { sha256: 'ab'.repeat(32), size: limits.indexBytes + 1, chunks: 1, params: 1 } }],
      }),
    ).toBe('MAN_SCHEMA')
    expect(withChange({ expires_at: formatTime(NOW + 401 * DAY) })).toBe('MAN_SCHEMA')
    expect(code(() => parseManifest(new Uint8Array(limits.manifestBytes + 1)))).toBe('MAN_LIMIT')
  })

  it('hold an old launcher off', async () => {
    const publisher = await Publisher.create()
    const input = await publisher.release({ minLauncherVersion: '2.10.0' })
    const by = (launcherVersion: string): string =>
      codeOf(verifyRelease(input, publisher.state(), options({ launcherVersion })))
    expect([by('2.9.9'), by('2.10.0'), by('v3'), by('2.10.0-beta')]).toEqual([
      'MAN_LAUNCHER_TOO_OLD',
      'accepted',
      'accepted',
      'accepted',
    ])
  })
})

describe('paths', () => {
  it('collide where case or spelling is not told apart', () => {
    const pairs = [
      ['A.txt', 'a.txt'],
      ['straße', 'STRASSE'],
      ['\u212a', 'k'],
      ['\u0130', 'i\u0307'],
      ['ΑΣ', 'ας'],
      ['ǅ', 'ǆ'],
    ]
    for (const [left, right] of pairs)
      expect([left, foldPath(left as string)]).toEqual([left, foldPath(right as string)])
    expect(foldPath('a²')).not.toBe(foldPath('a2'))
  })

  it('take ordinary names of any language', () => {
    for (const path of [
      'bgm/údolí.mp3',
      '日本語/ファイル.txt',
      'a b/c d.txt',
      '.hidden',
      'console.txt',
      'comma,name',
      'com10',
      'aux1/x',
      '__proto__',
      "it's",
      'ymir work/ui/x.tga',
    ]) {
      expect([path, code(() => checkPath(path))]).toEqual([path, 'accepted'])
    }
  })

  it('give the quick and the slow answer alike', () => {
    const parts = fc.stringMatching(/^[A-Za-z0-9 ._:*\\-]{0,9}$/)
    fc.assert(
      fc.property(
        fc.array(fc.oneof(parts, fc.constantFrom('con', 'AUX', 'nul.txt', 'com1', 'lpt9.x', 'aux .m', '..', '.')), {
          minLength: 1,
          maxLength: 4,
        }),
        (names) => {
          const path = names.join('/')
          // A letter outside ASCII, behind a slash of its own, sends the same path through the slow rules.
          expect([path, code(() => checkPath(path))]).toEqual([path, code(() => checkPath(`é/${path}`))])
        },
      ),
      { numRuns: 3000 },
    )
  })
})

describe('matchesGlob()', () => {
  it('knows one part, any part and any folder', () => {
    const cases: [string, string, boolean][] = [
      ['*.cfg', 'config/a.cfg', true],
      ['*.cfg', 'a.cfgs', false],
      ['config/*', 'config/a', true],
      ['config/*', 'config/a/b', false],
      ['config/**', 'config/a/b', true],
      ['**/*.png', 'a/b/c.PNG', true],
      ['a?c', 'abc', true],
      ['a?c', 'ac', false],
      ['**', 'x/y', true],
      ['**/x/**/y', 'a/x/b/c/y', true],
      ['**/x/**/y', 'a/x/b/c/z', false],
      ['*', 'deep/name', true],
    ]
    for (const [glob, path, fits] of cases) expect([glob, path, matchesGlob(glob, path)]).toEqual([glob, path, fits])
  })

  it('answers hostile globs: a matcher that tries every way would never end', () => {
    expect(matchesGlob(`${'*a'.repeat(500)}b`, 'a'.repeat(5000))).toBe(false)
    expect(matchesGlob(`${'**/a/'.repeat(200)}b`, `${'a/'.repeat(2000)}c`)).toBe(false)
  })
})

describe('diffManifests() and filesFor()', () => {
  it('tell what changed and what belongs here', async () => {
    const publisher = await Publisher.create()
    const [one, two] = [FILES[0], FILES[1]] as [(typeof FILES)[number], (typeof FILES)[number]]
    const before = (await publisher.manifest({ entries: [one, two] })).model
    const moved = { ...two, path: 'config/copy.cfg' }
    const after = (
      await publisher.manifest({
        entries: [
          { ...one, sha256: 'cd'.repeat(32), size: 9 },
          moved,
          { path: 'hd.bin', sha256: 'ef'.repeat(32), size: 5, group: 'hd' },
        ],
      })
    ).model
    const difference = diffManifests(before, after)
    expect(difference).toMatchObject({ unchangedCount: 0, newBlobBytes: 14 })
    expect(
      [difference.added, difference.removed, difference.changed].map((list) => list.map(({ path }) => path)),
    ).toEqual([['config/copy.cfg', 'hd.bin'], ['config/locale.cfg'], ['Metin2.exe']])
    expect(filesFor(after, 'linux').map(({ path }) => path)).toEqual(['config/copy.cfg', 'hd.bin'])
    expect(filesFor(after, 'linux', []).map(({ path }) => path)).toEqual(['config/copy.cfg'])
    const components = [{ name: 'hd', title: 'High-resolution art', default: false }]
    expect(filesFor({ ...after, components }, 'linux').map(({ path }) => path)).toEqual(['config/copy.cfg'])
    expect(filesFor(after, 'windows', ['hd']).map(({ path }) => path)).toEqual([
      'Metin2.exe',
      'config/copy.cfg',
      'hd.bin',
    ])
    // An answer for one component leaves the others to their default.
    expect(filesFor({ ...after, components }, 'linux', { hd: true }).map(({ path }) => path)).toContain('hd.bin')
    expect(filesFor(after, 'linux', { hd: false, other: true }).map(({ path }) => path)).toEqual(['config/copy.cfg'])
    expect(filesFor(after, 'linux', { other: false }).map(({ path }) => path)).toContain('hd.bin')
    expect(allFilesFor(after, 'linux').map(({ path }) => path)).toContain('hd.bin')
    expect(componentsFor({ ...after, components }, 'linux')).toEqual([{ ...components[0], bytes: 5, isChosen: false }])
    expect(componentsFor(after, 'linux', { hd: false })).toEqual([
      { name: 'hd', title: 'hd', default: true, bytes: 5, isChosen: false },
    ])
  })

  it('a mirror of the player’s own network is read as written; another scope means an ordinary mirror', async () => {
    const publisher = await Publisher.create()
    const plain = headOf(await publisher.head(await publisher.manifest()))
    const head: Head = { ...plain, mirrors: [{ url: 'http://cache.lan/', weight: 0, scope: 'lan' }] }
    const written = writeHead(head)
    expect(parseHead(written).mirrors).toEqual(head.mirrors)
    const later = new TextDecoder().decode(written).replace('"lan"', '"moon"')
    expect(parseHead(new TextEncoder().encode(later)).mirrors).toEqual([{ url: 'http://cache.lan/', weight: 0 }])
  })
})

describe('times, pins and trust.json', () => {
  it('parseTime() takes seconds in UTC and nothing else', () => {
    expect(parseTime('2026-11-21T00:00:00Z')).toBe(NOW)
    for (const text of [
      '2026-02-30T00:00:00Z',
      '2026-11-21T24:00:00Z',
      '2026-11-21T00:00:60Z',
      '2026-11-21T00:00:00.0Z',
      '2026-11-21T00:00:00+00:00',
      '2026-11-21',
      '',
    ]) {
      expect([text, parseTime(text)]).toEqual([text, undefined])
    }
  })

  it('pins are read as they are written', async () => {
    const publisher = await Publisher.create()
    const pins = [
      publisher.pin(),
      publisher.pin().split('?')[0] as string,
      `key:${keyId('a')}`,
      `key:${keyId('a')}@2026-12-01T00:00:00Z,key:${keyId('b')}`,
    ]
    for (const pin of pins) expect(formatTrustRoot(parseTrustRoot(pin))).toBe(pin)
  })

  it('trust.json survives the round trip with everything in it', async () => {
    const publisher = await Publisher.create()
    const state: TrustState = {
      ...verifyRelease(await publisher.release(), publisher.state(), options()).state,
      fork: { kind: 'head', channel: 'stable', sn: 4, epoch: 1, evidence: ['ab'.repeat(32), 'cd'.repeat(32)] },
    }
    expect(parseTrustState(writeTrustState(state))).toEqual(state)
    expect(parseTrustState(writeTrustState(initialTrustState(state.root)))).toEqual(initialTrustState(state.root))
    const text = utf8Decode(writeTrustState(state))
    for (const [from, to] of [
      ['"key_ids": {', '"key_ids": {"0": {}, '],
      ['"stable": {', '"__Stable": {}, "stable": {'],
      ['"kind": "head"', '"kind": "x"'],
    ] as const) {
      expect(code(() => parseTrustState(utf8Encode(text.replace(from, to))))).toBe('TRUST_STATE')
    }
  })
})

describe('error codes', () => {
  it('have a kind, one sentence of meaning and one of remedy, and the prefixes of this package', () => {
    for (const [name, { meaning, remedy }] of Object.entries(manifestErrors)) {
      expect(name).toMatch(/^(MAN|TRUST)_[A-Z_]+$/)
      for (const sentence of [meaning, remedy]) expect(sentence).toMatch(/^[A-Z].{10,}/)
      expect(meaning).toMatch(/\.$/)
    }
  })

  it('never show control characters of a document', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const evil = utf8Encode(utf8Decode(made.bytes).replace('config/locale.cfg', 'a\\u001b[31mb'))
    const error = (() => {
      try {
        parseManifest(evil)
      } catch (caught) {
        return caught as ManifestError
      }
      throw new Error('accepted')
    })()
    expect(error.code).toBe('MAN_PATH')
    // eslint-disable-next-line no-control-regex
    expect(error.message).not.toMatch(/[\u0000-\u001f]/)
    expect(await signHead(writeHead(headOf(await publisher.head(made))), [])).toBeDefined()
  })
})
