import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519PublicKey, hexEncode, isStrongEd25519PublicKey, systemRandom } from '@keyturn/primitives'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runM2pack } from '../src/m2pack/program.ts'
import { run } from '../src/program.ts'

let root = ''
const at = (...parts: string[]): string => join(root, ...parts)

interface Outcome {
  code: number
  out: string
  err: string
  json: { ok: boolean; command: string; data: Record<string, unknown>; error?: { code: string } }
}

async function call(program: typeof run, ...argv: string[]): Promise<Outcome> {
  const streams = { out: '', err: '' }
  const environment = {
    stdout: { write: (text: string) => void (streams.out += text) },
    stderr: { write: (text: string) => void (streams.err += text) },
    env: { HOME: root },
    signal: new AbortController().signal,
  }
  const code = await program([...argv, '--json'], environment)
  return { code, ...streams, json: JSON.parse(streams.out) as Outcome['json'] }
}

const m2pack = (...argv: string[]): Promise<Outcome> => call(runM2pack, ...argv)
const build = (output: string, ...more: string[]): Promise<Outcome> =>
  m2pack(
    'build',
    '--input',
    at('tree'),
    '--output',
    at(output),
    '--key',
    at('keys/master.key'),
    '--sign-secret-key',
    at('keys/signing.key'),
    '--level',
    '3',
    ...more,
  )

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'keyturn-pack-'))
  mkdirSync(at('tree/sub'), { recursive: true })
  writeFileSync(at('tree/a.txt'), 'hello '.repeat(1000))
  writeFileSync(at('tree/sub/b.bin'), randomBytes(70_000))
  writeFileSync(at('tree/x.log'), 'left out')
  expect((await m2pack('keygen', '--out-dir', at('keys'))).code).toBe(0)
  expect((await build('one.m2p', '--exclude', '*.log')).json.data).toMatchObject({ key_id: 1, files: 2, slots: [1] })
})

afterAll(() => rmSync(root, { recursive: true, force: true }))

const keys = (): string[] => ['--public-key', at('keys/signing.pub'), '--key', at('keys/master.key')]

describe('m2pack', () => {
  it('answers with one JSON object, as the original did, and the same under `keyturn pack`', async () => {
    const list = await m2pack('list', '--archive', at('one.m2p'))
    expect(list.json).toMatchObject({ ok: true, command: 'list', data: { key_id: 1, signature_checked: false } })
    const under = await call(run, 'pack', 'list', '--archive', at('one.m2p'))
    expect(under.json).toMatchObject({ ok: true, command: 'pack list', data: list.json.data })
    expect((await m2pack('verify', '--archive', at('one.m2p'), ...keys())).json.data).toMatchObject({
      signature_ok: true,
      hash_ok: true,
      files_checked: 2,
      failures: [],
    })
    expect((await m2pack('inspect', '--archive', at('one.m2p'))).json.data).toMatchObject({
      files: 2,
      padding_bytes: 0,
    })
    expect(
      (await m2pack('inspect', '--archive', at('one.m2p'), '--raw', '--public-key', at('keys/signing.pub'))).json.data,
    ).toMatchObject({ settled: true })
  })

  it('extracts what was packed; diff sees no difference, then one, and --fail-on-diff is exit 1', async () => {
    expect(
      (await m2pack('extract', '--archive', at('one.m2p'), '--output', at('out'), ...keys())).json.data,
    ).toMatchObject({ files: 2 })
    const same = await m2pack('diff', '--left', at('out'), '--right', at('one.m2p'), '--fail-on-diff')
    expect(same).toMatchObject({
      code: 0,
      json: { data: { stats: { added: 0, removed: 0, changed: 0, unchanged: 2 } } },
    })
    writeFileSync(at('out/a.txt'), 'other')
    expect(await m2pack('diff', '--left', at('out'), '--right', at('one.m2p'), '--fail-on-diff')).toMatchObject({
      code: 1,
      json: { ok: true, data: { changed: ['a.txt'] } },
    })
  })

  it('packs format version 2 when asked to, and whatever follows on such an archive', async () => {
    chmodSync(at('tree/a.txt'), 0o755)
    utimesSync(at('tree/a.txt'), 1_600_000_000, 1_600_000_000)
    const first = await build('v2.m2p', '--exclude', '*.log', '--format-version', '2', '--mtimes')
    expect(first.json.data).toMatchObject({ format_version: 2, files: 2 })
    const { data } = (await m2pack('list', '--archive', at('v2.m2p'))).json
    expect(data).toMatchObject({
      format_version: 2,
      entries: [{ path: 'a.txt', executable: true, modified: '2020-09-13T12:26:40.000Z' }, { path: 'sub/b.bin' }],
    })
    expect((await m2pack('inspect', '--archive', at('v2.m2p'))).json.data).toMatchObject({ version: 2, files: 2 })
    await m2pack('extract', '--archive', at('v2.m2p'), '--output', at('out2'), ...keys())
    expect(statSync(at('out2/a.txt'))).toMatchObject({ mtimeMs: 1_600_000_000_000 })
    if (process.platform !== 'win32') expect(statSync(at('out2/a.txt')).mode & 0o777).toBe(0o755)
    chmodSync(at('tree/a.txt'), 0o644)
    const again = await build('v2b.m2p', '--exclude', '*.log', '--previous', at('v2.m2p'))
    expect(again.json.data).toMatchObject({ format_version: 2, carried_files: 2 })
    const back = await build('v1b.m2p', '--exclude', '*.log', '--previous', at('v2.m2p'), '--format-version', '1')
    expect(back.json.data).toMatchObject({ format_version: 1, carried_files: 0 })
    for (const wrong of [
      ['--format-version', '3'],
      ['--mtimes'],
      ['--format-version', '2', '--segment-size', '8388608'],
    ])
      expect(await build('no.m2p', ...wrong)).toMatchObject({ json: { ok: false, error: { code: 'CLI_USAGE' } } })
    expect(existsSync(at('no.m2p'))).toBe(false)
  })

  it('rotates the content key by rewrap and by build --previous with equal bytes, from header and manifest too', async () => {
    await m2pack('keygen', '--out-dir', at('keys2'), '--no-slots')
    writeFileSync(
      at('slots2.key'),
      `${readFileSync(at('keys/slots.key'), 'utf8')}2 ${randomBytes(32).toString('hex')}\n`,
    )
    const turn = ['--sign-secret-key', at('keys/signing.key')]
    const rewrap = await m2pack(
      'rewrap',
      '--archive',
      at('one.m2p'),
      '--output',
      at('two.m2p'),
      '--key',
      at('keys/master.key'),
      '--new-key',
      at('keys2/master.key'),
      '--new-key-id',
      '2',
      ...turn,
    )
    expect(rewrap.json.data).toMatchObject({ previous_key_id: 1, key_id: 2, changed_bytes_at_most: 208 })
    const bytes = readFileSync(at('one.m2p'))
    writeFileSync(
      at('head.m2p'),
      Buffer.concat([bytes.subarray(0, 128), bytes.subarray(Number(bytes.readBigUInt64LE(16)))]),
    )
    for (const [previous, carried] of [
      ['one.m2p', 2],
      ['head.m2p', 0],
    ] as const) {
      const built = await m2pack(
        'build',
        '--input',
        at('tree'),
        '--exclude',
        '*.log',
        '--output',
        at('three.m2p'),
        '--force',
        '--key',
        at('keys2/master.key'),
        '--key-id',
        '2',
        '--slots',
        at('slots2.key'),
        '--level',
        '3',
        '--previous',
        at(previous),
        ...turn,
      )
      expect(built.json.data).toMatchObject({ key_id: 2, slots: [1], carried_files: carried, kept_files: 2 })
      expect(readFileSync(at('three.m2p')).equals(readFileSync(at('two.m2p')))).toBe(true)
    }
  })

  it('refuses with the code and exit code of what is wrong: output that exists or is a folder, missing and wrong values among it (rows 259, 260)', async () => {
    const bytes = readFileSync(at('one.m2p'))
    writeFileSync(at('cut.m2p'), bytes.subarray(0, -1))
    const flipped = Buffer.from(bytes)
    flipped[140]! ^= 1
    writeFileSync(at('flipped.m2p'), flipped)
    symlinkSync('/etc/hostname', at('tree/link'))
    const cases: [string, number, Promise<Outcome>][] = [
      ['M2P_TRUNCATED', 4, m2pack('verify', '--archive', at('cut.m2p'), ...keys())],
      ['M2P_DECRYPT', 4, m2pack('verify', '--archive', at('flipped.m2p'), ...keys())],
      ['M2P_KEY_ID_UNKNOWN', 4, m2pack('verify', '--archive', at('one.m2p'), ...keys(), '--key-id', '9')],
      ['M2P_KEY_INVALID', 4, m2pack('verify', '--archive', at('one.m2p'), '--public-key', at('one.m2p'))],
      ['BUILD_SPECIAL_FILE', 4, build('x.m2p')],
      ['PRIM_EXISTS', 2, build('one.m2p', '--exclude', 'link')],
      ['PRIM_EXISTS', 2, build('tree', '--exclude', 'link')],
      ['PRIM_FILE', 3, build('tree', '--exclude', 'link', '--force')],
      ['CLI_USAGE', 2, m2pack('list', '--archive', at('one.m2p'), '--nonsense')],
      ['CLI_USAGE', 2, m2pack('list', '--archive')],
      ['CLI_PATH_UNKNOWN', 2, m2pack('list', '--archive', at('nothing'))],
      ['CLI_USAGE', 2, m2pack('build', '--input', at('tree'))],
      ['CLI_USAGE', 2, build('y.m2p', '--level', '23')],
    ]
    for (const [code, exit, outcome] of cases)
      expect(await outcome, code).toMatchObject({ code: exit, json: { ok: false, error: { code } } })
    rmSync(at('tree/link'))
    expect(existsSync(at('x.m2p'))).toBe(false)
  })

  it('verifies many archives, all of them whatever one of them says, and lists the bad ones (row 267)', async () => {
    mkdirSync(at('many'))
    const whole = readFileSync(at('one.m2p'))
    const archives = Array.from({ length: 8 }, (_, index) => at('many', `${index}.m2p`))
    const bad = new Map([
      [3, whole.subarray(0, -1)],
      [5, whole.with(whole.length - 40, (whole[whole.length - 40] ?? 0) ^ 1)],
      [7, Buffer.from('none')],
    ])
    for (const [index, path] of archives.entries()) writeFileSync(path, bad.get(index) ?? whole)
    const outcome = await m2pack('verify', '--jobs', '1', '--archive', ...archives, ...keys())
    expect([outcome.code, outcome.json.error]).toMatchObject([
      4,
      { code: 'CLI_ARCHIVES', details: { refused: 3, archives: 8 } },
    ])
    expect(outcome.json.error).toMatchObject({
      details: {
        which: `${archives[3]} M2P_TRUNCATED; ${archives[5]} M2P_MANIFEST_HASH; ${archives[7]} M2P_TRUNCATED`,
      },
    })
    const sound = await m2pack(
      'verify',
      '--jobs',
      '1',
      ...archives.filter((_, index) => !bad.has(index)).flatMap((path) => ['--archive', path]),
      ...keys(),
    )
    expect(sound.json.data['archives']).toHaveLength(5)
  })

  it('writes no secret for clients in place of a public key, whatever its file is called (row 265)', async () => {
    const pair = () => {
      const seed = systemRandom(32)
      return { seed, isPoint: isStrongEd25519PublicKey(seed) }
    }
    let made = pair()
    while (!made.isPoint) made = pair() // half of all secrets are refused as no point of the curve
    mkdirSync(at('pair'))
    for (const name of ['signing.key', 'renamed.bin']) writeFileSync(at('pair', name), hexEncode(made.seed))
    const exportIt = (name: string, ...more: string[]) =>
      m2pack('export-client-config', '--public-key', at('pair', name), '--output', at('Secret.h'), ...more)
    expect((await exportIt('signing.key')).json.error).toMatchObject({ code: 'M2P_KEY_INVALID' })
    writeFileSync(at('pair', 'signing.pub'), hexEncode(ed25519PublicKey(made.seed)))
    expect((await exportIt('renamed.bin')).json.error).toMatchObject({ code: 'M2P_KEY_INVALID' })
    expect(
      (await exportIt('signing.pub', '--key-id', '2', '--slot', `1:${at('pair/renamed.bin')}`)).json.error,
    ).toMatchObject({ code: 'M2P_KEY_INVALID' })
    const runtime = await m2pack(
      'export-runtime-key',
      '--key',
      at('keys/master.key'),
      '--public-key',
      at('pair/renamed.bin'),
      '--output',
      at('Secret.h'),
    )
    expect(runtime.json.error).toMatchObject({ code: 'M2P_KEY_INVALID' })
    expect(existsSync(at('Secret.h'))).toBe(false)
    expect((await exportIt('signing.pub')).code).toBe(0)
  })

  it('exports public keys for clients and a runtime key that only its owner can read', async () => {
    const config = await m2pack(
      'export-client-config',
      '--key',
      at('keys/master.key'),
      '--public-key',
      at('keys/signing.pub'),
      '--key-id',
      '2',
      '--slot',
      `1:${at('keys/signing.pub')}`,
      '--output',
      at('M2PackKeys.h'),
    )
    expect(config.json.data).toMatchObject({ key_ids: [1, 2], key_id: 2 })
    expect(readFileSync(at('M2PackKeys.h'), 'utf8')).not.toContain(
      readFileSync(at('keys/master.key'), 'utf8').slice(0, 16),
    )
    const runtime = await m2pack(
      'export-runtime-key',
      '--key',
      at('keys/master.key'),
      '--public-key',
      at('keys/signing.pub'),
      '--format',
      'blob',
      '--output',
      at('key.blob'),
    )
    expect(runtime.json.data).toMatchObject({ format: 'blob', key_id: 1 })
    expect(statSync(at('key.blob'))).toMatchObject({ size: 84 })
    expect(statSync(at('key.blob')).mode & 0o777).toBe(0o600)
  })

  it('shows no key in anything it prints, whatever goes wrong', async () => {
    const marker = readFileSync(at('keys/master.key'), 'utf8').trim()
    const seed = readFileSync(at('keys/signing.key'), 'utf8').trim()
    writeFileSync(at('bad.key'), `${marker.slice(0, 63)}Z\n`)
    const shown: string[] = []
    for (const argv of [
      ['verify', '--archive', at('one.m2p'), ...keys()],
      ['verify', '--archive', at('one.m2p'), '--public-key', at('keys/signing.pub'), '--key', at('bad.key')],
      ['verify', '--archive', at('one.m2p'), '--public-key', at('keys/signing.key')],
      [
        'build',
        '--input',
        at('tree'),
        '--output',
        at('z.m2p'),
        '--key',
        at('keys/slots.key'),
        '--sign-secret-key',
        at('keys/signing.key'),
      ],
      ['extract', '--archive', at('flipped.m2p'), '--output', at('bad'), ...keys()],
      ['keygen', '--out-dir', at('keys')],
    ]) {
      const { out, err } = await m2pack(...argv)
      shown.push(out, err)
    }
    for (const secret of [marker, seed]) {
      const bytes = Buffer.from(secret, 'hex')
      for (const form of [
        secret.slice(0, 16),
        secret.slice(40, 56),
        secret.slice(0, 16).toUpperCase(),
        bytes.toString('base64').slice(0, 12),
        bytes.toString('base64url').slice(4, 16),
      ]) {
        expect(shown.join('')).not.toContain(form)
      }
    }
  })

  it('leaves nothing behind when the disk is full (row 261)', () => {
    const main = new URL('../dist/programs/m2pack.js', import.meta.url).pathname
    mkdirSync(at('full'))
    const command = `ulimit -f 40; exec "${process.execPath}" "${main}" build --input "${at('tree')}" --output "${at('full/x.m2p')}" --key "${at('keys/master.key')}" --sign-secret-key "${at('keys/signing.key')}" --json`
    const { stdout, status } = spawnSync('sh', ['-c', command], { encoding: 'utf8' })
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'PRIM_DISK_FULL' } })
    expect(status).toBe(3)
    expect(readdirSync(at('full'))).toEqual([])
  })

  it('takes names that begin with a dash, and shows those it refuses without their control characters (row 266)', async () => {
    mkdirSync(at('odd'))
    writeFileSync(at('odd/-lead'), 'x')
    const flags = ['--key', at('keys/master.key'), '--sign-secret-key', at('keys/signing.key')]
    expect((await m2pack('build', '--input', at('odd'), '--output', at('odd.m2p'), ...flags)).code).toBe(0)
    expect((await m2pack('list', '--archive', at('odd.m2p'))).out).toContain('"-lead"')
    writeFileSync(at('odd', 'a\nb\u001b[31m'), 'x')
    const refused = await m2pack('build', '--input', at('odd'), '--output', at('odder.m2p'), ...flags)
    expect(refused).toMatchObject({ code: 4, json: { error: { code: 'M2P_PATH' } } })
    expect(refused.out.trimEnd() + refused.err).not.toMatch(/[\u0000-\u001f]/)
    expect(existsSync(at('odder.m2p'))).toBe(false)
  })

  it('gives equal bytes on every run', async () => {
    const digests = new Set<string>()
    for (const jobs of ['1', '2']) {
      await build(`again-${jobs}.m2p`, '--jobs', jobs, '--deterministic')
      digests.add(
        createHash('sha256')
          .update(readFileSync(at(`again-${jobs}.m2p`)))
          .digest('hex'),
      )
    }
    expect(digests.size).toBe(1)
  })
})
