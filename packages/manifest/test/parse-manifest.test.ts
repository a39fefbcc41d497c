import { readdirSync, readFileSync } from 'node:fs'
import { concatBytes, utf8Decode, utf8Encode, sha256Hex } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { manifestTotals } from '../src/check-manifest.ts'
import { compareVersions, ManifestError, parseManifest } from '../src/index.ts'
import { buildManifest, checkVersionName, nextVersion, writeManifest } from '../src/publish/index.ts'
import { parseVersion } from '../src/version.ts'
import type { ManifestEntry } from '../src/publish/index.ts'
import { haveVectors, vectorPath } from './conformance.ts'
import { CONTENT_KEYS, FILES, NOW } from './support/publisher.ts'

function versionCode(name: string): string {
  try {
    checkVersionName(name)
    return 'accepted'
  } catch (error) {
    return error instanceof ManifestError ? error.code : String(error)
  }
}

function code(bytes: Uint8Array): string {
  try {
    parseManifest(bytes)
    return 'accepted'
  } catch (error) {
    if (error instanceof ManifestError) return error.code
    throw error
  }
}

const model = buildManifest(FILES, {
  version: '2026.11.21-1',
  nowMs: NOW,
  format: 'm2pack',
  notes: 'Notes with „quotes“ and 😀',
  launcher: { path: 'Launcher.exe', sha256: 'ab'.repeat(32), size: 5 },
  release: {
    product: 'metin2',
    channel: 'stable',
    epoch: 1,
    sequence: 7,
    rolesVersion: 2,
    contentKeys: CONTENT_KEYS,
    delete: ['old.dll'],
    keep: ['config/**'],
    program: { windows: 'Metin2.exe' },
    components: [{ name: 'voices-de', title: 'German voices', default: false }],
    requires: { freeBytes: 5, os: ['windows'] },
    critical: ['delete'],
    rollbackOf: '2026.11.20-1',
    previousSha256: 'cd'.repeat(32),
    trustRoot: 'did:keri:x',
  },
})
const bytes = writeManifest(model)
const text = utf8Decode(bytes)
const first = JSON.parse(text) as { files: object[] } & Record<string, unknown>

/** The manifest with one member changed. */
function changed(change: Record<string, unknown>): Uint8Array {
  return utf8Encode(JSON.stringify({ ...first, ...change }))
}

describe('writeManifest()', () => {
  it('writes two spaces, LF, one LF at the end, members in the fixed order', () => {
    expect(text).toMatch(/^\{\n {2}"format": "m2pack",\n {2}"version": /)
    expect(text.endsWith('}\n')).toBe(true)
    expect(text).not.toContain('\r')
    expect(Object.keys(first)).toEqual([
      'format',
      'version',
      'created_at',
      'notes',
      'launcher',
      'files',
      'schema',
      'product',
      'channel',
      'epoch',
      'sequence',
      'issued_at',
      'expires_at',
      'previous_sha256',
      'roles_version',
      'critical',
      'content_keys',
      'delete',
      'keep',
      'program',
      'components',
      'requires',
      'rollback_of',
      'totals',
      'trust_root',
    ])
  })

  it('is read back as it was, whatever the model', () => {
    const file = fc.record({
      name: fc.stringMatching(/^[a-z0-9_é-]{1,12}$/),
      size: fc.integer({ min: 0, max: 2 ** 36 }),
      platform: fc.constantFrom('all', 'windows', 'linux'),
      required: fc.boolean(),
      executable: fc.boolean(),
    })
    fc.assert(
      fc.property(
        fc.uniqueArray(file, { selector: ({ name }) => name.toLowerCase(), maxLength: 20 }),
        fc.string(),
        (files, notes) => {
          const entries = files.map(({ name, ...rest }): ManifestEntry => ({
            path: `x${name}x`.normalize('NFC'),
            sha256: sha256Hex(utf8Encode(name)),
            ...rest,
          }))
          const made = buildManifest(entries, {
            version: '2026.01.02-3',
            nowMs: NOW,
            ...(notes !== '' && { notes }),
            release: { product: 'p', channel: 'c', epoch: 0, sequence: 1 },
          })
          expect(parseManifest(writeManifest(made))).toEqual(made)
        },
      ),
    )
  })

  it('sorts by UTF-8 bytes, not by UTF-16 units', () => {
    const paths = ['\u{10400}', '\uff5e', 'b', 'C', 'a/b', 'a-b']
    const made = buildManifest(
      paths.map((path) => ({ path, sha256: sha256Hex(utf8Encode(path)), size: 1 })),
      {
        version: '2026.01.02-3',
        nowMs: NOW,
        release: { product: 'p', channel: 'c', epoch: 0, sequence: 1 },
      },
    )
    expect(made.files.map(({ path }) => path)).toEqual(['C', 'a-b', 'a/b', 'b', '\uff5e', '\u{10400}'])
  })

  it('refuses to write what no reader takes', () => {
    expect(() => writeManifest({ ...model, delete: ['Metin2.exe'] })).toThrow(
      expect.objectContaining({ code: 'MAN_SCHEMA' }),
    )
    expect(() =>
      buildManifest(FILES, {
        version: '1.4.2/beta',
        nowMs: NOW,
        release: { product: 'p', channel: 'c', epoch: 0, sequence: 1 },
      }),
    ).toThrow(expect.objectContaining({ code: 'MAN_VERSION' }))
    const launcher = { path: 'Launcher.exe', sha256: 'ab'.repeat(32), size: 5 }
    const legacy = (version: string, allowTag: boolean): string =>
      buildManifest([], { version, nowMs: NOW, launcher, allowTag }).version
    expect(() => legacy('2026.11.21-full', false)).toThrow(expect.objectContaining({ code: 'MAN_VERSION' }))
    expect(() => legacy('1.4.2', true)).toThrow(expect.objectContaining({ code: 'MAN_VERSION' }))
    expect(legacy('2026.11.21-full', true)).toBe('2026.11.21-full')
  })
})

describe('parseManifest()', () => {
  it('takes no version that leads out of a folder, from schema 2 on', () => {
    for (const version of ['../../x', '..', '.hidden', 'a/b', 'a\\b', 'C:x', 'a b', '', '1\u001b[2J', 'x'.repeat(129)])
      expect([version, code(changed({ version }))]).toEqual([version, 'MAN_SCHEMA'])
    for (const version of ['2026.11.21-1', '1.0+build_2', 'x'.repeat(128)])
      expect(parseManifest(changed({ version })).version).toBe(version)
  })

  it('reads back what was written', () => {
    expect(parseManifest(bytes)).toEqual(model)
  })

  it('throws its own error for any bytes, each cut and each changed byte, or gives a manifest', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (anything) => void code(anything)))
    for (let length = 0; length < bytes.length - 1; length += 7)
      expect(code(bytes.subarray(0, length))).not.toBe('accepted')
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const edited = bytes.slice()
        edited[at] = value
        code(edited)
      }),
    )
  })

  it('wants every required field, and each of its type', () => {
    for (const name of ['version', 'created_at', 'files']) {
      const { [name]: gone, ...rest } = first
      expect([name, code(utf8Encode(JSON.stringify(rest)))]).toEqual([name, 'MAN_SCHEMA'])
      for (const wrong of [null, 5, {}, true])
        expect([name, gone !== undefined && code(changed({ [name]: wrong }))]).toEqual([name, 'MAN_SCHEMA'])
    }
    const { schema, launcher, ...old } = first
    expect([schema, launcher !== undefined, code(utf8Encode(JSON.stringify(old)))]).toEqual([2, true, 'MAN_SCHEMA'])
  })

  it('takes a missing format for the original one, and any odd one for unknown (rows 72, 73)', () => {
    const { format, ...rest } = first
    expect(format).toBe('m2pack')
    expect(parseManifest(utf8Encode(JSON.stringify(rest))).format).toBe('legacy-json-blob')
    for (const odd of ['', null, 7]) expect(code(changed({ format: odd }))).toBe('MAN_UNKNOWN_FORMAT')
  })

  it('refuses sizes that are not plain integers (row 69)', () => {
    const sized = (size: string): Uint8Array => utf8Encode(text.replace('"size": 3,', `"size": ${size},`))
    for (const size of ['1e3', '1.0', '-0', '9007199254740992', '1e400'])
      expect([size, code(sized(size))]).toEqual([size, 'MAN_JSON'])
    for (const size of ['-1', '"5"', 'null', '68719476737'])
      expect([size, code(sized(size))]).toEqual([size, 'MAN_SCHEMA'])
  })

  it('refuses hashes that are not 64 lower-case hex digits (row 87)', () => {
    for (const sha256 of [
      'ab'.repeat(32).slice(1),
      `${'ab'.repeat(32)}a`,
      'AB'.repeat(32),
      'sha1',
      `sha256:${'a'.repeat(57)}`,
    ]) {
      expect(code(changed({ files: [{ path: 'a', sha256, size: 1 }], totals: undefined }))).toBe('MAN_SCHEMA')
    }
  })

  it('refuses totals that do not add up and one hash with two sizes (row 89)', () => {
    expect(code(changed({ totals: { files: 3, bytes: 17, download_bytes: 16 } }))).toBe('MAN_SCHEMA')
    expect(code(changed({ totals: { files: 4, bytes: 16, download_bytes: 16 } }))).toBe('MAN_SCHEMA')
    const twice = [
      { path: 'a', sha256: 'ab'.repeat(32), size: 1 },
      { path: 'b', sha256: 'ab'.repeat(32), size: 2 },
    ]
    expect(code(changed({ files: twice, totals: undefined }))).toBe('MAN_SCHEMA')
  })

  it('adds up the same whether hashes are spread or chosen to pile up', () => {
    const digest = fc.oneof(
      fc.stringMatching(/^[0-9a-f]{64}$/),
      fc.integer({ min: 0, max: 150 }).map((n) => `0000000${n.toString(16).padStart(57, '0')}`),
    )
    fc.assert(
      fc.property(fc.array(digest, { maxLength: 300 }), (digests) => {
        const files = digests.map((sha256, index) => ({
          path: `${index}`,
          sha256,
          size: Number.parseInt(sha256.slice(-4), 16),
          platform: 'all',
          required: true,
          executable: false,
        }))
        const distinct = new Map(files.map(({ sha256, size }) => [sha256, size]))
        const downloadBytes = [...distinct.values()].reduce((sum, size) => sum + size, 0)
        expect(manifestTotals(files)).toEqual({
          files: files.length,
          bytes: files.reduce((sum, { size }) => sum + size, 0),
          downloadBytes,
        })
      }),
    )
    const piled = Array.from({ length: 200_000 }, (_, index) => ({
      path: `${index}`,
      sha256: `00000000${index.toString(16).padStart(56, '0')}`,
      size: 1,
      platform: 'all',
      required: true,
      executable: false,
    }))
    // One look at every other for each of them would not end within the limit of a test.
    expect(manifestTotals(piled).downloadBytes).toBe(200_000)
  })

  it('installs legal names that look odd, and pollutes nothing (row 66)', () => {
    const files = ['__proto__', 'constructor', 'prototype/hasOwnProperty', 'toString'].map((path, index) => ({
      path,
      sha256: `${index}`.repeat(64),
      size: 1,
    }))
    const parsed = parseManifest(changed({ files, totals: undefined, program: undefined }))
    expect(parsed.files.map(({ path }) => path)).toEqual(files.map(({ path }) => path))
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('answers slow-looking input: what looks again at all of it for each part would never end (row 90)', () => {
    const answers = [
      code(changed({ version: '1.'.repeat(2_000_000) })),
      code(
        changed({
          files: [{ path: `${'a/'.repeat(1_000_000)}!`, sha256: 'ab'.repeat(32), size: 1 }],
          totals: undefined,
        }),
      ),
      code(utf8Encode('['.repeat(4_000_000))),
    ]
    expect(answers).toEqual(['MAN_SCHEMA', 'MAN_SCHEMA', 'MAN_JSON'])
  })

  it('refuses what is not JSON: comments, commas, BOM, UTF-16, garbage around it (row 67)', () => {
    const wide = new Uint8Array(bytes.length * 2)
    bytes.forEach((byte, index) => (wide[index * 2] = byte))
    const odd = [
      `/* c */${text}`,
      text.replace('}\n', ',}\n'),
      text.replace('"schema": 2', '"schema": NaN'),
      text.replaceAll('"', "'"),
      `\ufeff${text}`,
      `x${text}`,
      `${text}x`,
    ]
    for (const document of [...odd.map(utf8Encode), wide, concatBytes(Uint8Array.of(0xff), bytes)])
      expect(code(document)).toBe('MAN_JSON')
  })
})

describe.skipIf(!haveVectors)('published JSON vectors', () => {
  const names = haveVectors ? readdirSync(vectorPath('json-test-suite/test_parsing')).sort() : []
  const read = (name: string): Uint8Array => readFileSync(vectorPath(`json-test-suite/test_parsing/${name}`))
  /** The file as the value of a field that this reader does not know. */
  const embedded = (name: string): Uint8Array =>
    concatBytes(utf8Encode('{"x":'), read(name), utf8Encode(`,${text.trim().slice(1)}`))

  it('refuses the 188 n_ files, alone and inside a manifest (row 68)', () => {
    const files = names.filter((name) => name.startsWith('n_'))
    expect(files).toHaveLength(188)
    expect(files.filter((name) => code(read(name)) === 'accepted')).toEqual([])
    expect(files.filter((name) => code(embedded(name)) === 'accepted')).toEqual([])
  })

  it('accepts the 95 y_ files inside a manifest, but for a named list', () => {
    const files = names.filter((name) => name.startsWith('y_'))
    expect(files).toHaveLength(95)
    expect(files.filter((name) => code(embedded(name)) !== 'accepted')).toEqual(STRICTER)
  })

  it('gives each of the 35 i_ files the same answer twice', () => {
    const files = names.filter((name) => name.startsWith('i_'))
    expect(files).toHaveLength(35)
    for (const name of files) expect(code(embedded(name))).toBe(code(embedded(name)))
  })
})

/** Valid JSON that this reader refuses: numbers that are not integers, duplicate keys. */
const STRICTER: readonly string[] = [
  'y_number.json',
  'y_number_0e+1.json',
  'y_number_0e1.json',
  'y_number_double_close_to_zero.json',
  'y_number_int_with_exp.json',
  'y_number_minus_zero.json',
  'y_number_negative_zero.json',
  'y_number_real_capital_e.json',
  'y_number_real_capital_e_neg_exp.json',
  'y_number_real_capital_e_pos_exp.json',
  'y_number_real_exponent.json',
  'y_number_real_fraction_exponent.json',
  'y_number_real_neg_exp.json',
  'y_number_real_pos_exponent.json',
  'y_number_simple_real.json',
  'y_object_duplicated_key.json',
  'y_object_duplicated_key_and_value.json',
  'y_object_extreme_numbers.json',
  'y_structure_lonely_negative_real.json',
]

describe('program and components', () => {
  const files = (change: Record<string, unknown>): object[] =>
    (JSON.parse(text) as { files: object[] }).files.map((file, index) => (index === 0 ? { ...file, ...change } : file))

  it('are read as they were written', () => {
    const { program, components } = parseManifest(bytes)
    expect(program).toEqual({ windows: 'Metin2.exe' })
    expect(components).toEqual([{ name: 'voices-de', title: 'German voices', default: false }])
  })

  it('a program is one of the files, for its platform, and in no group', () => {
    for (const program of [
      { windows: 'missing.exe' },
      { windows: 7 },
      { 'Windows 11': 'Metin2.exe' },
      {},
      'Metin2.exe',
    ])
      expect([program, code(changed({ program }))]).toEqual([program, 'MAN_SCHEMA'])
    expect(code(changed({ files: files({ platform: 'linux' }) }))).toBe('MAN_SCHEMA')
    expect(code(changed({ files: files({ platform: 'windows' }) }))).toBe('accepted')
    expect(code(changed({ files: files({ group: 'voices-de' }) }))).toBe('MAN_SCHEMA')
    expect(code(changed({ program: { all: 'config/locale.cfg' } }))).toBe('accepted')
    // Players on other systems have no file for Windows.
    expect(code(changed({ program: { all: 'Metin2.exe' } }))).toBe('MAN_SCHEMA')
  })

  it('a group is a listed component, as soon as any is listed', () => {
    const grouped = (group: string, components?: object[]): string =>
      code(changed({ files: files({ group }), program: undefined, components }))
    const component = { name: 'hd', title: 'HD' }
    expect(grouped('hd')).toBe('accepted')
    expect(grouped('hd', [component])).toBe('accepted')
    expect(grouped('sd', [component])).toBe('MAN_SCHEMA')
    expect(grouped('hd', [component, component])).toBe('MAN_SCHEMA')
    expect(grouped('hd', [{ name: 'hd' }])).toBe('MAN_SCHEMA')
    expect(grouped('hd', [{ ...component, default: 'yes' }])).toBe('MAN_SCHEMA')
  })
})

describe('versions', () => {
  it('are ordered by day, then by number, tags after numbers', () => {
    const ordered = [
      '2026.04.14-9',
      '2026.04.15-1',
      '2026.04.15-2',
      '2026.04.15-10',
      '2026.04.15-m2pack-full',
      '2026.04.16-1',
    ]
    for (let left = 0; left < ordered.length; left++) {
      for (let right = 0; right < ordered.length; right++) {
        expect(Math.sign(compareVersions(ordered[left] as string, ordered[right] as string) ?? Number.NaN)).toBe(
          Math.sign(left - right),
        )
      }
    }
    expect(compareVersions('2026.04.15-a', '2026.04.15-b')).toBeUndefined()
    expect(compareVersions('1.2.3', '2026.04.15-1')).toBeUndefined()
    expect(parseVersion('2026.04.15-01')).toMatchObject({ count: undefined, suffix: '01' })
  })

  it('count on from the last one of the day', () => {
    expect(nextVersion(NOW)).toBe('2026.11.21-1')
    expect(nextVersion(NOW, '2026.11.21-9')).toBe('2026.11.21-10')
    expect(nextVersion(NOW, '2026.11.20-9')).toBe('2026.11.21-1')
  })

  it('skip every number that is taken, whatever the order and the dates of the others (row 403)', () => {
    expect(nextVersion(NOW, ['2026.11.21-2', '2031.01.01-1', '2026.11.21-1', '1.4.2', '2026.11.21-hotfix'])).toBe(
      '2026.11.21-3',
    )
  })

  it('are any name of 64 letters, digits and . + _ - that is safe as a file name and in an address', () => {
    for (const name of ['1.4.2', '0', 'v2.0.0-rc.1+build.5', '2026.11.21-1', 'a'.repeat(64), 'Autumn_update'])
      expect([name, versionCode(name)]).toEqual([name, 'accepted'])
    for (const name of [
      '',
      '-1',
      '.1',
      '1 2',
      '1/2',
      '1\\2',
      'a'.repeat(65),
      'ü',
      '1.',
      'con',
      'NUL.1',
      '1.sigs',
      '1.SIGS',
    ])
      expect([name, versionCode(name)]).toEqual([name, 'MAN_VERSION'])
  })
})
