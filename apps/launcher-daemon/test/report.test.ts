import { randomBytes } from 'node:crypto'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createEngine, toEngineOptions } from '@keyturn/install-engine'
import { LauncherProgram } from '../src/program/program.ts'
import { redact } from '../src/daemon/redact.ts'
import { supportReport } from '../src/daemon/support-report.ts'
import { temporaryFolder, treeFetch } from '../../../packages/install-engine/test/support/install.ts'
import { contentKey, NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'

const names = { home: '/home/annika', user: 'annika', host: 'annikas-pc' }

describe('what leaves the machine', () => {
  it('has no user, password, query, token, key, mail, home or name in it', () => {
    const key = randomBytes(32).toString('hex')
    const token = randomBytes(32).toString('base64url')
    const cases: [string, string[]][] = [
      ['GET https://bob:hunter2@host.example/a?token=abc123#frag', ['bob', 'hunter2', 'abc123', 'frag']],
      [`authorization: Bearer ${token}`, [token, token.slice(0, 12)]],
      [`key ${key} of`, [key, key.slice(0, 16)]],
      [`M2PACK_MASTER_KEY_HEX=${key}`, [key]],
      [`{"token":"sesame","password": "x y z","code":"ABCD-EFGH"}`, ['sesame', 'x y z', 'ABCD-EFGH']],
      ['passphrase=correct-horse', ['correct-horse']],
      [`session ${token}`, [token]],
      ['mail annika@example.org', ['annika@example.org']],
      ['/home/annika/Games and ANNIKA on annikas-pc', ['annika', 'ANNIKA', 'annikas-pc']],
      ['"C:\\\\Users\\\\annika\\\\x"', ['annika']],
    ]
    for (const [text, secrets] of cases)
      for (const secret of secrets) expect(redact(text, names), text).not.toContain(secret)
    expect(redact('/home/annika/Games', names)).toBe('~/Games')
    expect(redact('sha256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', names)).toBe(
      'sha256 01234567…',
    )
  })

  it('stays readable: versions, codes, paths and sizes are kept', () => {
    const line =
      '2026-11-21T00:00:00.000Z notice {"code":"LA_NETWORK","message":"Cannot fetch from releases.test: ETIMEDOUT"}'
    expect(redact(line, names)).toBe(line)
    expect(redact('files/aa of release 2026.11.21-1, 1.5 GB', names)).toBe('files/aa of release 2026.11.21-1, 1.5 GB')
  })
})

/** Secrets in every place that a launcher reads or writes. */
async function plant(folder: string): Promise<string[]> {
  const secrets: string[] = []
  const secret = (): string => {
    const made = randomBytes(24).toString('hex')
    secrets.push(made)
    return made
  }
  const updates = join(folder, '.updates')
  for (const name of [
    'api.json',
    'runtime-keys.sealed',
    'device.key',
    'trust/transport-floors.json',
    'install_id',
    'x.key',
  ])
    await writeFile(join(updates, name), `{"token":"${secret()}"}`)
  await mkdir(join(updates, 'trust/evidence'), { recursive: true })
  await writeFile(join(updates, 'trust/evidence/a.json'), secret())
  await writeFile(join(folder, 'runtime-key.json'), secret())
  await appendFile(
    join(updates, 'launcher.log'),
    [
      `2026-11-21T00:00:00.000Z notice {"code":"X","message":"https://me:${secret()}@releases.test/?key=${secret()}"}`,
      `2026-11-21T00:00:00.000Z notice {"code":"X","message":"authorization: Bearer ${secret()}"}`,
      `2026-11-21T00:00:00.000Z notice {"code":"X","message":"key ${secret()} /home/annika/x annikas-pc"}`,
      '',
    ].join('\n'),
  )
  return secrets
}

describe('a support report', () => {
  it('says what support asks for and not one of the secrets that lie everywhere', async () => {
    const publisher = await Publisher.create()
    const key = contentKey(4)
    await publisher.release(
      { 'client.mjs': 'process.exit(0)', 'runtime-key.json': key.json },
      { format: 'm2pack', place: { contentKeys: [key.entry] } },
    )
    const folder = await temporaryFolder()
    const password = randomBytes(16).toString('hex')
    const settings = {
      server: `http://me:${password}@releases.test/`,
      trust: publisher.trust,
      channel: 'stable',
      telemetryUrlTemplate: `https://t.example/${password}`,
      lanMirror: `http://me:${password}@10.0.0.2/`,
      program: ['client.mjs', password],
    }
    const fetch = treeFetch(publisher.tree)
    const engine = createEngine({ ...toEngineOptions(folder, settings), fetch, clock: () => NOW + 1000 })
    await engine.update()
    const secrets = [...(await plant(folder)), password, key.hex]
    const env = {
      HTTPS_PROXY: `http://me:${password}@proxy.example:3128`,
      M2PACK_MASTER_KEY_HEX: key.hex,
      TOKEN: password,
    }
    const report = await supportReport({
      folder,
      settings,
      status: await engine.status(),
      launcher: { name: 'My Game', version: '1.4.0' },
      env,
      fetch,
      now: new Date(NOW),
      names,
    })
    for (const secret of [...secrets, ...secrets.map((text) => Buffer.from(text).toString('base64'))]) {
      expect(report).not.toContain(secret)
      expect(report).not.toContain(secret.slice(0, 12))
    }
    for (const name of ['annika', 'annikas-pc']) expect(report.toLowerCase()).not.toContain(name)
    for (const fact of [
      'launcher: My Game 1.4.0',
      'version: 2026.11.21-1',
      'trust: current',
      'server: releases.test',
      'answer of the server: status 404',
      'proxies set: HTTPS_PROXY',
      'lanMirror: set',
      'device.key: ',
      'free: ',
      '"state":"finalize"',
    ])
      expect(report).toContain(fact)
  })

  it('is written by a command to a file that was not there, for this user only', async () => {
    const publisher = await Publisher.create()
    const folder = await temporaryFolder()
    const out: string[] = []
    const program = (): LauncherProgram =>
      new LauncherProgram({
        stdout: { write: (text) => out.push(text) },
        stderr: { write: (text) => out.push(text) },
        env: {},
        signal: new AbortController().signal,
        programFolder: folder,
      })
    const file = join(folder, 'report.txt')
    const install = ['--dir', join(folder, 'game'), '--server', 'http://127.0.0.1:9/', '--trust', publisher.trust]
    expect(await program().run(['report', file, ...install, '--json'])).toBe(0)
    expect(JSON.parse(out.join(''))).toMatchObject({ ok: true, command: 'report', data: { file } })
    expect(await readFile(file, 'utf8')).toContain('answer of the server: failed')
    expect(await program().run(['report', file, ...install])).not.toBe(0)
    expect(out.join('')).toContain('LA_USAGE')
  })
})
