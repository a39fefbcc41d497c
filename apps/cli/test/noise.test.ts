import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { base64Decode, hexEncode } from '@keyturn/primitives'
import { parseIdentityName } from '@keyturn/noise-keys'
import { assertKeyUsable, KeyFloors, lookUpKeys } from '@keyturn/noise-keys/reader'
import { folderDirectory } from '@keyturn/noise-keys/node'
import { askOnce } from '@keyturn/noise-keys/noise'
import {
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  openKeyAnswer,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyRequest,
} from '@keyturn/runtime-key'
import { createReleaseServer } from '@keyturn/release-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../src/program.ts'

const DAY_MS = 86_400_000
let folder = ''
let nowMs = 0

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-noise-'))
  nowMs = Date.parse('2026-12-01T00:00:00Z')
  await writeFile(join(folder, 'passphrase'), 'correct horse')
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  exit: number
  ok: boolean
  data: Record<string, unknown> & { keys: { device: string; state?: string; verdict?: string; public_key: string }[] }
  error?: { code: string }
  text: string
}

/** Runs a command in this process, under the test's clock. */
async function keyturn(...argv: string[]): Promise<Answer> {
  let stdout = ''
  let stderr = ''
  const exit = await run(
    [...argv, '--json', '--home', join(folder, 'home'), '--passphrase-file', join(folder, 'passphrase')],
    {
      stdout: {
        write: (text) => {
          stdout += text
        },
      },
      stderr: {
        write: (text) => {
          stderr += text
        },
      },
      env: {},
      clock: () => nowMs,
      signal: new AbortController().signal,
    },
  )
  return { ...(JSON.parse(stdout) as Answer), exit, text: stdout + stderr }
}

const states = ({ data }: Answer): string[] =>
  data.keys.map(({ device, state, verdict }) => `${device}: ${state ?? verdict}`)

/** One round of the runtime key exchange; the code of the answer, or the status before it. */
async function askForKey(url: string, publicKeyHex: string): Promise<string> {
  const remoteStatic = Uint8Array.from(Buffer.from(publicKeyHex, 'hex'))
  const header = writeExchangeHeader({ pattern: 'NK', serverKeyHint: serverKeyHint(remoteStatic) })
  const asked = askOnce(
    EXCHANGE_PROTOCOLS.NK,
    { remoteStatic, prologue: exchangePrologue(header) },
    writeKeyRequest({ keyId: 1, manifestSha256: new Uint8Array(32) }),
  )
  const body = Uint8Array.from([...header, ...asked.message])
  const response = await fetch(`${url}/noise/runtime-key`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/octet-stream' },
  })
  if (response.status !== 200) return `HTTP ${response.status}`
  try {
    openKeyAnswer(asked.readAnswer(new Uint8Array(await response.arrayBuffer())), 1)
    return 'key'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('keyturn noise', { timeout: 600_000 }, () => {
  it('rotates a key on schedule, by what status says is due', async () => {
    await keyturn('init', '--product', 'game')
    expect(states(await keyturn('noise', 'publish'))).toEqual(['server: active'])
    expect((await keyturn('noise', 'status', '--check')).exit).toBe(0)
    nowMs += 91 * DAY_MS
    const due = await keyturn('noise', 'status', '--check')
    expect(due.exit).toBe(1)
    expect(due.data['reminders']).toEqual(['remind-80', 'remind-100'])
    expect(states(await keyturn('noise', 'rotate'))).toEqual(['server: active', 'server-v2: next'])
    expect(states(await keyturn('noise', 'rotate'))).toEqual(['server: active', 'server-v2: next'])
    nowMs += DAY_MS
    expect(states(await keyturn('noise', 'rotate'))).toEqual(['server: retiring', 'server-v2: active'])
    expect(states(await keyturn('noise', 'lookup'))).toEqual(['server-v2: ok', 'server: retiring'])
    nowMs += 9 * DAY_MS
    expect(states(await keyturn('noise', 'rotate', '--due'))).toEqual(['server: retired', 'server-v2: active'])
    expect((await keyturn('noise', 'rotate', '--due')).data['did']).toBe('nothing')
    expect((await keyturn('noise', 'audit')).data['reports']).toMatchObject([{ findings: [] }])
  })

  it('a lost device is refused by anyone who looks', async () => {
    await keyturn('init', '--product', 'game')
    await keyturn('noise', 'publish', '--device', 'laptop')
    const identity = parseIdentityName(String((await keyturn('noise', 'status')).data['identity']))
    const lost = (await keyturn('noise', 'status')).data.keys[0]?.public_key ?? ''
    expect(states(await keyturn('noise', 'revoke', 'laptop', '--reason', 'lost', '--replace', '--yes'))).toEqual([
      'laptop: revoked',
      'laptop-v2: active',
    ])
    const directory = folderDirectory(join(folder, 'home', 'transport', 'published'))
    const verdicts = await lookUpKeys(directory, identity, new KeyFloors(), { nowS: nowMs / 1000 })
    expect(() => assertKeyUsable(verdicts, Uint8Array.from(Buffer.from(lost, 'hex')))).toThrow(
      expect.objectContaining({ code: 'NK_REVOKED' }),
    )
    expect(states(await keyturn('noise', 'lookup', identity.name))).toEqual(['laptop-v2: ok', 'laptop: revoked'])
  })

  it('a whole rotation is signed where the key is, and published here at its dates', async () => {
    await keyturn('init', '--product', 'game')
    await writeFile(join(folder, 'seed'), `${'2a'.repeat(32)}\n`)
    const cold = (device: string): Promise<Answer> =>
      keyturn('noise', 'derive', '--seed-file', join(folder, 'seed'), '--device', device)
    const first = await cold('server')
    const identity = String(first.data['identity'])
    const file = (name: string): string => join(folder, name)
    await keyturn(
      'noise',
      'sign-request',
      '--identity',
      identity,
      '--next-key',
      String(first.data['public_key']),
      '--out',
      file('r1.json'),
    )
    const sign = (request: string, answer: string): Promise<Answer> =>
      keyturn(
        'noise',
        'sign-request',
        '--sign',
        file(request),
        '--seed-file',
        file('seed'),
        '--out',
        file(answer),
        '--yes',
      )
    expect((await sign('r1.json', 'a1.json')).exit).toBe(0)
    expect((await keyturn('noise', 'publish', '--request', file('r1.json'), '--answer', file('a1.json'))).exit).toBe(0)
    expect(states(await keyturn('noise', 'lookup', identity))).toEqual(['server: ok'])

    nowMs += 80 * DAY_MS
    const second = await cold('server-v2')
    await keyturn(
      'noise',
      'sign-request',
      '--turn',
      '--next-key',
      String(second.data['public_key']),
      '--out',
      file('r2.json'),
    )
    expect((await sign('r2.json', 'a2.json')).data['publications']).toBe(3)
    const publish = (): Promise<Answer> =>
      keyturn('noise', 'publish', '--request', file('r2.json'), '--answer', file('a2.json'))
    const seen: string[][] = []
    for (const days of [0, 1, 9]) {
      nowMs += days * DAY_MS
      expect((await publish()).exit).toBe(0)
      seen.push(states(await keyturn('noise', 'lookup', identity)))
    }
    expect(seen).toEqual([
      ['server: ok', 'server-v2: next'],
      ['server-v2: ok', 'server: retiring'],
      ['server-v2: ok', 'server: retired'],
    ])
    expect(states(await keyturn('noise', 'status'))).toEqual(['server: retired', 'server-v2: active'])
    const files = await Promise.all(
      ['r1.json', 'a1.json', 'r2.json', 'a2.json', 'home/transport/keys.json'].map((name) =>
        readFile(file(name), 'utf8'),
      ),
    )
    for (const text of files) expect(text).not.toContain('2a'.repeat(16))
  })

  it('publishes to a release server with a token, and finds everything there again', async () => {
    const server = await createReleaseServer({
      dataDir: join(folder, 'server'),
      host: '127.0.0.1',
      port: 0,
      vault: { passphrase: 'correct horse', scryptLogN: 4 },
    })
    try {
      const { url } = await server.listen()
      const { secret } = await server.createToken({ name: 'publisher', scopes: ['keys:write'] })
      await writeFile(join(folder, 'token'), secret)
      nowMs = Date.now()
      await keyturn('init', '--product', 'game')
      const publish = ['--to', url, '--token-file', join(folder, 'token')]
      expect((await keyturn('noise', 'publish', '--to', url)).exit).not.toBe(0)
      const published = await keyturn('noise', 'publish', ...publish, '--hand-over')
      expect([states(published), published.data['handed_to']]).toEqual([['server: active'], [url]])
      const rotated = await keyturn('noise', 'rotate', '--now', ...publish)
      expect([states(rotated), rotated.data['handed_to']]).toEqual([['server: retiring', 'server-v2: active'], [url]])
      // The server answers under both keys: it opens the handshake, and says that it knows no such release.
      for (const { public_key: publicKey } of rotated.data.keys)
        expect(await askForKey(url, publicKey)).toBe('RK_RELEASE_UNKNOWN')
      expect(states(await keyturn('noise', 'lookup', '--from', url))).toEqual(['server-v2: ok', 'server: retiring'])
      expect((await keyturn('noise', 'audit', '--from', url)).data['reports']).toMatchObject([{ findings: [] }])
      expect(states(await keyturn('noise', 'revoke', 'server', '--yes', ...publish))).toEqual([
        'server: revoked',
        'server-v2: active',
      ])
      expect(states(await keyturn('noise', 'lookup', '--from', url))).toEqual(['server-v2: ok', 'server: revoked'])
      expect(await askForKey(url, rotated.data.keys[0]?.public_key ?? '')).toBe('HTTP 410')
      expect(await askForKey(url, rotated.data.keys[1]?.public_key ?? '')).toBe('RK_RELEASE_UNKNOWN')
      expect((await keyturn('noise', 'publish', '--to', 'http://192.0.2.1', '--hand-over')).error?.code).toMatch(
        /CLI_USAGE|NK_UNREACHABLE/,
      )
    } finally {
      await server.close()
    }
  })

  it('prints a secret only when asked, and takes seeds in three spellings', async () => {
    const seed = new Uint8Array(32).fill(0x2a)
    const expected = '9054652f09d47044f1418e10f52b52accd959754884adc7b9bc27ad2781b4b65'
    for (const spelled of [seed, hexEncode(seed), `${Buffer.from(seed).toString('base64')}\n`]) {
      await writeFile(join(folder, 'seed'), spelled)
      const plain = await keyturn('noise', 'derive', '--seed-file', join(folder, 'seed'), '--context', 'default')
      expect(plain.data['public_key']).toBe('b43e2371eaec28c0b43ae6592f4ac3c4a4e9d537706457730d64b7c69b1c1832')
      expect(plain.text).not.toContain(expected)
      expect(
        (await keyturn('noise', 'derive', '--seed-file', join(folder, 'seed'), '--context', 'default', '--show-secret'))
          .data['secret_key'],
      ).toBe(expected)
    }
    expect(base64Decode('Kg==')).toEqual(Uint8Array.of(42))
  })

  it('answers bad input with its codes, and changes nothing under --dry-run', async () => {
    await keyturn('init', '--product', 'game')
    const codeOf = async (...argv: string[]): Promise<string> => {
      const { exit, error } = await keyturn('noise', ...argv)
      return `${exit} ${error?.code}`
    }
    await writeFile(join(folder, 'short'), 'abc')
    expect(await codeOf('derive', '--seed-file', join(folder, 'short'))).toBe('2 CLI_USAGE')
    expect(await codeOf('derive', '--seed-file', join(folder, 'none'))).toBe('2 CLI_PATH_UNKNOWN')
    expect(await codeOf('derive', '--generation', 'G9', '--seed-file', join(folder, 'short'))).toBe('2 CLI_USAGE')
    expect(await codeOf('rotate')).toBe('2 CLI_TURN_UNREADY')
    expect(await codeOf('lookup', 'nonsense')).toBe('4 NK_IDENTITY')
    expect(await codeOf('lookup', '--from', 'http://127.0.0.1:9')).toBe('3 NK_UNREACHABLE')
    expect(await codeOf('revoke', 'nobody', '--yes')).toBe('4 NK_DEVICE_ID')
    await keyturn('noise', 'publish')
    const before = await readFile(join(folder, 'home/transport/keys.json'), 'utf8')
    for (const argv of [['rotate', '--now'], ['publish'], ['revoke', 'server']])
      expect((await keyturn('noise', ...argv, '--dry-run')).data['dry_run']).toBe(true)
    expect(await readFile(join(folder, 'home/transport/keys.json'), 'utf8')).toBe(before)
    expect(await codeOf('revoke', 'server', '--reason', 'because', '--yes')).toBe('2 CLI_USAGE')
    expect(await codeOf('sign-request', '--turn', '--out', join(folder, 'r'))).toBe('2 CLI_USAGE')
  })
})
