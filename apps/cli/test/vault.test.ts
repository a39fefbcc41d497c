import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

let folder = ''
const run = (args: readonly string[], input?: string): ReturnType<typeof keyturn> =>
  keyturn([...args, '--json', '--passphrase-file', join(folder, 'passphrase')], {
    env: { KEYTURN_HOME: join(folder, 'home') },
    ...(input === undefined ? {} : { input }),
  })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-cli-vault-'))
  await writeFile(join(folder, 'passphrase'), 'correct horse\n', { mode: 0o600 })
  await writeFile(join(folder, 'other'), 'wrong horse\n', { mode: 0o600 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('keyturn vault', () => {
  const name = 'vault'
  const at = (file = name): string[] => ['--vault', join(folder, file)]

  it('keyturn vault: seal, open, traverse, rotate, sweep, retire, status, audit', async () => {
    expect(codeOf(await run(['vault', 'status', ...at()]))).toBe('VK_NOT_FOUND')
    expect(dataOf(await run(['vault', 'init', ...at()]))).toMatchObject({ key_version: 1 })
    expect(codeOf(await run(['vault', 'init', ...at()]))).toBe('CLI_EXISTS')
    expect(dataOf(await run(['vault', 'seal', 'ci', 'token', ...at()], 'secret text'))).toMatchObject({
      bytes: 11,
      key_version: 1,
    })
    const opened = dataOf(await run(['vault', 'open', 'ci', 'token', ...at()]))
    expect(Buffer.from(String(opened['content_base64']), 'base64').toString()).toBe('secret text')
    dataOf(
      await run(['vault', 'traverse', 'ci', 'prod', 'token', '--layer', 'access', '--policy', 'deployers', ...at()]),
    )
    expect(codeOf(await run(['vault', 'open', 'prod', 'token', ...at()]))).toBe('VK_CONTEXT')
    expect(codeOf(await run(['vault', 'open', 'prod', 'token', '--policy', 'others', ...at()]))).toBe('VK_AUTH')
    expect(dataOf(await run(['vault', 'rotate', '--yes', ...at()]))).toMatchObject({ from: 1, to: 2, remaining: 2 })
    const early = await run(['vault', 'retire', '1', ...at()])
    expect([codeOf(early), early.code]).toEqual(['VK_SWEEP_INCOMPLETE', 4])
    expect(dataOf(await run(['vault', 'sweep', ...at()]))).toMatchObject({ resealed: 2, remaining: 0 })
    expect(dataOf(await run(['vault', 'retire', '1', ...at()]))).toMatchObject({ state: 'quarantined' })
    expect(codeOf(await run(['vault', 'retire', '1', '--destroy', '--yes', ...at()]))).toBe('VK_QUARANTINE')
    dataOf(await run(['vault', 'audit', 'checkpoint', '--output', join(folder, `${name}.checkpoint`), ...at()]))
    expect(
      dataOf(await run(['vault', 'audit', 'verify', '--checkpoint', join(folder, `${name}.checkpoint`), ...at()])),
    ).toMatchObject({ checkpoints: 2 })
    const { keys } = dataOf(await run(['vault', 'status', ...at()])) as {
      keys: { version: number; state: string; records: number }[]
    }
    expect(keys.map(({ version, state, records }) => [version, state, records])).toEqual([
      [1, 'quarantined', 0],
      [2, 'active', 2],
    ])
    expect(
      dataOf(
        await run([
          'vault',
          'open',
          'prod',
          'token',
          '--policy',
          'deployers',
          '--output',
          join(folder, `${name}.out`),
          ...at(),
        ]),
      ),
    ).toMatchObject({ bytes: 11 })
    const wrong = await keyturn(['vault', 'status', ...at(), '--json', '--passphrase-file', join(folder, 'other')])
    expect([codeOf(wrong), wrong.code]).toEqual(['VK_PASSPHRASE', 4])
  })

  it('keyturn vault rotate --if-due keeps to the policy file, and so does retire --destroy', async () => {
    const vault = at('with-policy')
    dataOf(await run(['vault', 'init', ...vault]))
    dataOf(await run(['vault', 'seal', 'ci', 'a', ...vault], 'x'))
    expect(codeOf(await run(['vault', 'rotate', '--if-due', '--yes', ...vault]))).toBe('CLI_USAGE')
    const policy = {
      format: 'keyturn-vault-policy-1',
      rotate: { max_records: 1 },
      destroy: { min_quarantine_days: 30, may_force: [] as string[], may_erase: [] },
    }
    const write = (value: object): Promise<void> =>
      writeFile(join(folder, 'with-policy', 'policy.json'), JSON.stringify(value))
    await write({ ...policy, destroy: {} })
    const wrong = await run(['vault', 'status', ...vault])
    expect([codeOf(wrong), wrong.code]).toEqual(['VK_POLICY_FORM', 4])
    await write(policy)
    expect(dataOf(await run(['vault', 'rotate', '--if-due', '--yes', ...vault]))).toMatchObject({ from: 1, to: 2 })
    expect(dataOf(await run(['vault', 'rotate', '--if-due', '--yes', ...vault]))).toMatchObject({ due: false })
    expect(dataOf(await run(['vault', 'status', ...vault]))).toMatchObject({ policy: { due: false, reasons: [] } })
    const force = ['vault', 'retire', '1', '--destroy', '--force-count', '1', '--yes', ...vault]
    expect(codeOf(await run(force))).toBe('VK_POLICY')
    await write({ ...policy, destroy: { ...policy.destroy, may_force: [userInfo().username] } })
    expect(codeOf(await run(force))).toBe('VK_STATE') // the account may; the version is not in quarantine
  })

  it('keyturn vault shares: enough holders open the vault whose passphrase is lost, and fewer do not', async () => {
    const vault = at('shared')
    const shares = join(folder, 'shares')
    dataOf(await run(['vault', 'init', ...vault]))
    dataOf(await run(['vault', 'seal', 'ci', 'a', ...vault], 'kept'))
    const make = (threshold: string): string[] => [
      'vault',
      'shares',
      'make',
      shares,
      '--threshold',
      threshold,
      '--count',
      '3',
    ]
    expect(codeOf(await run([...make('4'), ...vault]))).toBe('CLI_USAGE')
    const wrong = ['--json', '--passphrase-file', join(folder, 'other')]
    expect(codeOf(await keyturn([...make('2'), ...vault, ...wrong]))).toBe('VK_PASSPHRASE')
    await expect(stat(shares)).rejects.toMatchObject({ code: 'ENOENT' })
    const made = dataOf(await run([...make('2'), ...vault]))
    expect(made).toMatchObject({ threshold: 2, shares: 3, made: true })
    expect(codeOf(await run([...make('2'), ...vault]))).toBe('CLI_EXISTS')
    const file = (number: number): string => join(shares, `share-${number}-of-3.txt`)
    expect((await stat(file(1))).mode & 0o777).toBe(0o600)
    const use = (...files: string[]): Promise<Outcome> =>
      run([
        'vault',
        'shares',
        'use',
        '--share-file',
        ...files,
        '--new-passphrase-file',
        join(folder, 'other'),
        ...vault,
      ])
    expect(codeOf(await use(file(1)))).toBe('VK_SHARES_MISSING')
    expect(codeOf(await use(file(1), join(folder, 'passphrase')))).toBe('VK_SHARE')
    dataOf(await use(file(3), file(1)))
    const opened = dataOf(await keyturn(['vault', 'open', 'ci', 'a', ...vault, ...wrong]))
    expect(Buffer.from(String(opened['content_base64']), 'base64').toString()).toBe('kept')
    expect(codeOf(await run(['vault', 'status', ...vault]))).toBe('VK_PASSPHRASE')
  })

  it('keyturn vault keeps a vault in an SQLite file as well', async () => {
    dataOf(await run(['vault', 'init', ...at('secrets.db')]))
    dataOf(await run(['vault', 'seal', 'ci', 'token', ...at('secrets.db')], 'secret text'))
    dataOf(await run(['vault', 'rotate', '--yes', ...at('secrets.db')]))
    expect(dataOf(await run(['vault', 'sweep', ...at('secrets.db')]))).toMatchObject({ resealed: 1, remaining: 0 })
    expect(dataOf(await run(['vault', 'audit', 'verify', ...at('secrets.db')]))).toMatchObject({ checkpoints: 1 })
  })
})

it('keyturn vault audit verify names the first bad record', async () => {
  const file = join(folder, 'vault', 'audit.jsonl')
  const lines = (await readFile(file, 'utf8')).split('\n')
  await writeFile(file, lines.with(2, (lines[2] ?? '').replace('"outcome":"done"', '"outcome":"failed"')).join('\n'))
  const outcome = await run(['vault', 'audit', 'verify', '--vault', join(folder, 'vault')])
  expect(outcome.code).toBe(4)
  expect(JSON.parse(outcome.stdout)).toMatchObject({
    error: { code: 'VK_AUDIT_BROKEN', details: { seq: 3, flaw: 'hash' } },
  })
})

it('keyturn rotate vault rotates the keystore of the home; its passphrase still opens it', async () => {
  dataOf(await run(['init', '--product', 'demo']))
  dataOf(await run(['vault', 'init']))
  dataOf(await run(['vault', 'seal', 'a', 'b'], 'x'))
  expect(dataOf(await run(['rotate', 'vault', '--dry-run']))).toMatchObject({
    turns: ['keystore', 'next identity key', 'vault'],
    download_bytes_at_most: 0,
  })
  const { turned } = dataOf(await run(['rotate', 'vault', '--yes'])) as { turned: unknown[] }
  expect(turned).toMatchObject([
    { what: 'keystore', from: 1, to: 2 },
    { what: 'next identity key', from: 1, to: 2 },
    { what: 'vault', from: 1, to: 2, records: 1 },
  ])
  dataOf(await run(['status']))
  await chmod(join(folder, 'home', 'keystore'), 0o644)
  const loose = await run(['rotate', 'vault', '--yes'])
  expect([codeOf(loose), loose.code]).toEqual(['KEY_PERMISSION', 4])
})
