import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256Hex } from '@keyturn/primitives'
import { createHome } from '@keyturn/publisher/keys'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { drillKinds } from '../../src/drill/plans.ts'
import { codeOf, keyturn } from '../support/keyturn.ts'
import type { Outcome } from '../support/keyturn.ts'

/** Launchers of each drill here; the campaign takes as many as it has time for. */
const LAUNCHERS = process.env['KEYTURN_DRILL_LAUNCHERS'] ?? '2'

let folder = ''
let server: Server
let requests = 0

// A drill starts programs of its own, with nothing of this environment.
process.env['KEYTURN_TEST_REAL_PASSPHRASES'] = '1'
const realPassphrases = { NODE_OPTIONS: '' }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-drills-'))
  server = createServer((_request, response) => {
    requests += 1
    response.end()
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  await writeFile(join(folder, 'passphrase'), 'correct horse\n', { mode: 0o600 })
  const passphrase = new TextEncoder().encode('correct horse')
  await createHome({
    folder: join(folder, 'home'),
    product: 'the-game',
    channel: 'live',
    server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passphrase,
    nextPassphrase: passphrase,
    rolesDays: 365,
    clock: Date.now,
    scryptLogN: 4,
  })
  await mkdir(join(folder, 'home', 'server'))
  await writeFile(join(folder, 'home', 'server', 'publisher.token'), 'a token of the real server\n', { mode: 0o600 })
})
afterAll(async () => {
  server.close()
  await rm(folder, { recursive: true, force: true })
})

/** Every file of the real home: content, size, mode, time and place on the disk. */
async function everyFile(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const entry of await readdir(join(folder, 'home'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const { size, mode, mtimeMs, ctimeMs, ino } = await lstat(path)
    found[path] = {
      size,
      mode,
      mtimeMs,
      ctimeMs,
      ino,
      ...(entry.isFile() ? { sha256: sha256Hex(await readFile(path)) } : {}),
    }
  }
  return found
}

/** Runs it as the owner of the home would: with everything set that leads to the real home and the real server. */
async function drill(...words: readonly string[]): Promise<Outcome> {
  return await keyturn(['drill', ...words], {
    cwd: folder,
    env: {
      ...realPassphrases,
      TMPDIR: join(folder, 'tmp'),
      KEYTURN_HOME: join(folder, 'home'),
      KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase'),
      KEYTURN_TOKEN: 'a token of the real server',
    },
  })
}

interface Report {
  readonly held: boolean
  readonly product: string
  readonly channel: string
  readonly launchers: number
  readonly plays: number
  readonly play_problems: string[]
  readonly milestones: { last_ms: number | null; missing: number }[]
  readonly commands: { line: string; code: string }[]
  readonly attempts: { installs: number; refusals: Record<string, number> }[]
}

/** What the publisher types, without what is different every time. */
const expected: Readonly<Record<(typeof drillKinds)[number], readonly RegExp[]>> = {
  'release-stolen': [/^keyturn release kill release$/, /^keyturn rotate release --revoke/, /^keyturn ship/],
  'head-stolen': [/^keyturn release kill head$/, /^keyturn rotate head --revoke/, /^keyturn ship/],
  'identity-stolen': [/^keyturn emergency rotate-now/, /^keyturn release renew --all$/, /^keyturn ship/],
  'server-lost': [/^keyturn-server --port/, /^keyturn-server .*token create/, /^keyturn ship/],
  'laptop-lost': [
    /^keyturn-server token revoke/,
    /^keyturn-server token create/,
    /^keyturn restore/,
    /^keyturn release kill both$/,
    /^keyturn emergency rotate-now/,
    /^keyturn rotate release --revoke/,
    /^keyturn ship/,
  ],
}

/** The test of the guide (`guides.test.ts`) runs these two, and compares the home before and after as well. */
const IN_THE_GUIDE: readonly string[] = ['release-stolen', 'laptop-lost']
/** As with a stolen release key, with another role; the campaign has it. */
const ALIKE = 'head-stolen'
const kinds =
  process.env['KEYTURN_DRILL_LAUNCHERS'] === undefined
    ? drillKinds.filter((kind) => !IN_THE_GUIDE.includes(kind) && kind !== ALIKE)
    : drillKinds

describe('keyturn drill', () => {
  it.each(kinds)(
    '%s: every launcher follows, players notice nothing, and the real home and server are not touched (row 353)',
    async (kind) => {
      await mkdir(join(folder, 'tmp'), { recursive: true })
      const before = await everyFile()
      const outcome = await drill(kind, '--launchers', LAUNCHERS, '--check-seconds', '1', '--json')
      expect(outcome.code, `${outcome.stdout}${outcome.stderr}`).toBe(0)
      const { data } = JSON.parse(outcome.stdout) as { data: Report }
      expect(data).toMatchObject({ held: true, product: 'the-game', channel: 'live', play_problems: [] })
      expect(data.launchers).toBe(Number(LAUNCHERS))
      expect(data.plays).toBeGreaterThanOrEqual(2 * Number(LAUNCHERS))
      expect(data.milestones.every(({ missing, last_ms }) => missing === 0 && (last_ms ?? 0) > 0)).toBe(true)
      expect(data.commands.filter(({ code }) => code !== '')).toEqual([])
      expect(data.commands).toHaveLength(expected[kind].length)
      for (const [at, line] of expected[kind].entries()) expect(data.commands[at]?.line).toMatch(line)
      expect(data.attempts).toHaveLength({ 'server-lost': 0, 'laptop-lost': 4 }[kind as string] ?? 2)
      for (const { installs, refusals } of data.attempts) {
        expect(installs).toBe(0)
        expect(Object.keys(refusals).join()).toMatch(/^(KEL_|MAN_KEY_|SRV_AUTH)/)
      }
      expect(await everyFile()).toEqual(before)
      expect(requests).toBe(0)
      expect(await readdir(join(folder, 'tmp'))).toEqual([])
    },
    900_000,
  )

  it('a drill that does not hold says so, and exits as refused: CLI_DRILL', async () => {
    // Somebody removes the home of the shadow in the middle of it.
    const { run } = await import('../../src/program.ts')
    const controller = new AbortController()
    let printed = ''
    const words = ['drill', 'server-lost', '--launchers', '1', '--home', join(folder, 'home'), '--json', '--events']
    const code = await run([...words, '--dir', join(folder, 'kept'), '--timeout-minutes', '1'], {
      stdout: { write: (text) => void (printed += text) },
      stderr: {
        write: (text) => {
          if (text.includes('is gone with its disk')) void rm(join(folder, 'kept', 'home'), { recursive: true })
        },
      },
      env: {},
      signal: controller.signal,
    })
    const answer = JSON.parse(printed) as { error: { code: string; message: string }; data: Report }
    expect([code, answer.error.code, answer.data.held]).toEqual([4, 'CLI_DRILL', false])
    expect(answer.error.message).toContain('keyturn ship')
    expect(await readdir(join(folder, 'kept'))).toContain('launchers')
  }, 300_000)

  it('refuses what it cannot do before anything is made: CLI_USAGE, CLI_EXISTS', async () => {
    const there = join(folder, 'there.md')
    await writeFile(there, 'mine')
    expect(codeOf(await drill('nothing-stolen', '--json'))).toBe('CLI_USAGE')
    expect(codeOf(await drill('server-lost', '--launchers', '0', '--json'))).toBe('CLI_USAGE')
    expect(codeOf(await drill('server-lost', '--out', there, '--json'))).toBe('CLI_EXISTS')
    expect(codeOf(await drill('server-lost', '--dir', join(folder, 'home'), '--json'))).toBe('CLI_EXISTS')
    expect(await readFile(there, 'utf8')).toBe('mine')
  })
})
