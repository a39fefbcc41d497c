import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { createEngine } from '@keyturn/install-engine'
import { patienceMs } from '../../../packages/install-engine/test/support/campaign.ts'
import {
  expectedText,
  temporaryFolder,
  treeFetch,
  treeText,
} from '../../../packages/install-engine/test/support/install.ts'
import { lies, LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import type { Lie } from '../../../packages/install-engine/test/support/lying-server.ts'
import { noise, Publisher, sha256Hex } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const preload = (name: string): string[] => ['--import', new URL(`./support/${name}.ts`, import.meta.url).href]
const manyFiles = Number(process.env['KEYTURN_MANY_FILES'] ?? '2000')
/** The engine's own test meets all of them; the program meets a third, and all of them in the campaign. */
const EVERY_LIE = process.env['KEYTURN_LIES'] === 'all'
const longFileBytes = Number(process.env['KEYTURN_LONG_FILE'] ?? 64 * 1024 * 1024)

const before = {
  'a.txt': 'one',
  'big.bin': noise(700_000, 3),
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`data/${index}.txt`, `one ${index}`])),
}
const after = {
  'a.txt': 'two',
  'big.bin': noise(700_000, 77),
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`data/${index}.txt`, `two ${index}`])),
}

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly error: string | undefined
  readonly text: string
}

interface Running {
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: Promise<Ended>
}

function program(nodeFlags: readonly string[], args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [...nodeFlags, main, ...args, '--json'], {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/tmp', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  child.stderr.resume()
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code, signal) => {
      const answer = text.startsWith('{') ? (JSON.parse(text) as { error?: { code: string } }) : {}
      resolve({ code, signal, error: answer.error?.code, text })
    }),
  )
  return { kill: (signal) => void child.kill(signal), ended }
}

let publisher: Publisher
let start: string
let made: MadeRelease
let [from, to] = ['', '']

beforeAll(async () => {
  expect(existsSync(main), 'build the package first').toBe(true)
  publisher = await Publisher.create()
  publisher.nowMs = Date.now() - 60_000
  const old = await publisher.release(before)
  start = await temporaryFolderOfAll()
  await engineOn(start).update()
  made = await publisher.release(after)
  ;[from, to] = [expectedText(old.files, sha256Hex), expectedText(made.files, sha256Hex)]
})

async function temporaryFolderOfAll(): Promise<string> {
  const { mkdtemp } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-binary-'))
  const { afterAll } = await import('vitest')
  afterAll(async () => rm(folder, { recursive: true, force: true }))
  return folder
}

function engineOn(folder: string) {
  return createEngine({
    folder,
    server: 'http://releases.test/',
    trust: publisher.trust,
    fetch: treeFetch(publisher.tree),
    logFile: false,
  })
}

async function copyOfStart(): Promise<string> {
  const folder = await temporaryFolder('fast')
  await cp(start, folder, { recursive: true, preserveTimestamps: true })
  return folder
}

async function served(
  how: Lie | undefined,
  where = /^files\//,
): Promise<{ server: LyingServer; flags: (folder: string) => string[] }> {
  const server = new LyingServer(() => publisher.tree)
  const address = await server.listen()
  if (how !== undefined) server.lie = { where, how }
  return { server, flags: (folder) => ['--dir', folder, '--server', address, '--trust', publisher.trust] }
}

/** Lies that an honest reader gets over, because nothing in them is wrong. */
const harmless = new Set([
  'a Date of ten years ago',
  'a tag that changes each time',
  'a connection closed after each answer',
  'the whole file for a range',
])
const codes: readonly (readonly [RegExp, RegExp])[] = [
  [/^(closes|resets) before headers$|^a reset at half$|^bad chunk sizes$/, /^LA_NETWORK$/],
  [/^stays silent$|^a stall|^one byte/, /^LA_TIMEOUT$/],
  [/^a redirect/, /^LA_REDIRECT$/],
  [/^gzip|brotli/, /^LA_ENCODING$/],
  [/^another range|^range not/, /^LA_RANGE$/],
  [/wrong blob|changed bytes/, /^LA_HASH$/],
  [/^[45]\d\d/, /^LA_HTTP_STATUS$/],
  [/without end$/, /^LA_(SIZE|NETWORK|TIMEOUT)$/],
]

describe('the real program against a server that lies', () => {
  it(
    'about every blob: each ends with its code, the old release whole, and an honest answer afterwards repairs it (rows 189 to 195, 197, 198)',
    async () => {
      const queue = Object.entries(lies).filter((_, index) => EVERY_LIE || index % 3 === 0)
      const ends = new Map<string, number>()
      const lane = async (): Promise<void> => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          const [name, how] = next
          const { server, flags } = await served(how)
          const folder = await copyOfStart()
          const { code, error, text } = await program(preload('fast-clock'), ['update', ...flags(folder)], {
            KEYTURN_TEST_SPEED: '10',
          }).ended
          const tree = await treeText(folder)
          if (harmless.has(name) || (name === 'length too long' && code === 0)) {
            expect([name, code, tree === to, text]).toEqual([name, 0, true, text])
          } else {
            expect(error, `${name}: ${text}`).toMatch(
              codes.find(([which]) => which.test(name))?.[1] ??
                /^LA_(NETWORK|TIMEOUT|SIZE|HTTP_STATUS|RANGE|REDIRECT|ENCODING|HASH)$/,
            )
            expect([name, tree]).toEqual([name, from])
            await engineOn(folder).update()
            expect([name, await treeText(folder)]).toEqual([name, to])
          }
          ends.set(error ?? 'updated', (ends.get(error ?? 'updated') ?? 0) + 1)
          await server.close()
          await rm(folder, { recursive: true })
        }
      }
      await Promise.all(Array.from({ length: 6 }, lane)) // most of them wait for silence to end
      const total = [...ends.values()].reduce((sum, count) => sum + count, 0)
      console.info(
        `the real program met ${total} behaviours: ${[...ends]
          .map(([end, count]) => `${end} ${count}`)
          .sort()
          .join(', ')}`,
      )
      expect(total).toBeGreaterThanOrEqual(EVERY_LIE ? 40 : 14)
    },
    patienceMs,
  )
})

describe('the real program', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'ends on %s in a download, the old release whole, and goes on later (row 223)',
    async (signal) => {
      const { server, flags } = await served(lies['a stall at half'])
      const folder = await copyOfStart()
      const running = program([], ['update', ...flags(folder)])
      await expect.poll(() => server.told, { timeout: 60_000 }).toBeGreaterThan(0)
      running.kill(signal)
      expect(await running.ended).not.toMatchObject({ code: 0 })
      expect(await treeText(folder)).toBe(from)
      server.lie = undefined
      expect((await program([], ['update', ...flags(folder)]).ended).code).toBe(0)
      expect(await treeText(folder)).toBe(to)
      await server.close()
    },
    patienceMs,
  )

  it(
    'that dies for want of memory while it puts files in place is old or new at the next start (row 226)',
    async () => {
      const { server, flags } = await served(undefined)
      for (const dieAt of ['0', '5']) {
        const folder = await copyOfStart()
        const { code, signal } = await program(
          ['--max-old-space-size=64', ...preload('dies-of-memory')],
          ['update', ...flags(folder)],
          { KEYTURN_TEST_DIES_AT: dieAt },
        ).ended
        expect([code, signal]).not.toEqual([0, null])
        expect(existsSync(join(folder, '.updates/txn.json'))).toBe(true)
        const again = await program([], ['update', ...flags(folder)]).ended
        expect(again.code, again.text).toBe(0)
        expect(await treeText(folder)).toBe(to)
      }
      await server.close()
    },
    patienceMs,
  )

  it.skipIf(!existsSync('/proc/self/status'))(
    `stays under 256 MiB with ${manyFiles} files and a long one (row 225)`,
    async () => {
      const many = await Publisher.create()
      many.nowMs = Date.now() - 60_000
      const folder = await temporaryFolder()
      const files = Object.fromEntries(
        Array.from({ length: manyFiles }, (_, index) => [
          `data/${index % 100}/${index}.bin`,
          `${index}`.padEnd(1024, '.'),
        ]),
      )
      const { createHash } = await import('node:crypto')
      const { buildManifest, manifestPin, signManifest, writeManifest } = await import('@keyturn/manifest/publish')
      const { signerOf } = await import('../../../packages/install-engine/test/support/publisher.ts')
      for (let index = 0; index < 100; index++) await mkdir(join(folder, 'data', String(index)), { recursive: true })
      for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text)
      await writeFile(join(folder, 'long.bin'), '')
      await truncate(join(folder, 'long.bin'), longFileBytes)
      const zeros = Buffer.alloc(1024 * 1024)
      const hash = createHash('sha256')
      for (let left = longFileBytes; left > 0; left -= zeros.length)
        hash.update(zeros.subarray(0, Math.min(left, zeros.length)))
      const entries = [
        ...Object.entries(files).map(([path, text]) => ({
          path,
          sha256: sha256Hex(Buffer.from(text)),
          size: text.length,
        })),
        { path: 'long.bin', sha256: hash.digest('hex'), size: longFileBytes },
      ]
      const model = buildManifest(entries, {
        version: '2026.11.21-1',
        nowMs: many.nowMs,
        release: { product: 'metin2', channel: 'stable', epoch: 1, sequence: 1, rolesVersion: 1 },
      })
      const bytes = writeManifest(model)
      const release = {
        model,
        bytes,
        signatures: await signManifest(bytes, [signerOf('release 1')]),
        files: new Map<string, Uint8Array>(),
        pin: manifestPin(model, sha256Hex(bytes), bytes.length),
      }
      many.serve(release)
      await many.head(release)
      const server = new LyingServer(() => many.tree)
      const flags = ['--dir', folder, '--server', await server.listen(), '--trust', many.trust]
      const told = join(folder, '.rss')
      for (const command of ['update', 'update', 'repair']) {
        const watch = `data:text/javascript,${encodeURIComponent(`import { readFileSync, writeFileSync } from 'node:fs'; process.on('exit', () => writeFileSync(${JSON.stringify(told)}, /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]))`)}`
        const { code, text } = await program(['--import', watch], [command, ...flags]).ended
        expect(code, text).toBe(0)
        const mebibytes = Math.round(Number(await readFile(told, 'utf8')) / 1024)
        console.info(`${command} of ${manyFiles + 1} files: ${mebibytes} MiB`)
        expect(mebibytes).toBeLessThan(256)
      }
      await server.close()
    },
    patienceMs,
  )
})
