import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEngine } from '../src/index.ts'
import type { EngineOptions } from '../src/index.ts'
import { expectedText, temporaryFolder, treeText } from './support/install.ts'
import { lies, LyingServer } from './support/lying-server.ts'
import type { Lie } from './support/lying-server.ts'
import { noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'
import type { MadeRelease } from './support/publisher.ts'

/** Each lie about each document; otherwise each lie about one of them in turn. */
const everyDocument = process.env['KEYTURN_LIES'] === 'all'

const big = noise(700_000, 3)
const first = { 'a.txt': 'one', 'big.bin': big }
const second = { 'a.txt': 'two', 'big.bin': noise(700_000, 77) }

let publisher: Publisher
let server: LyingServer
let address: string
let old: MadeRelease
let made: MadeRelease
let start: string
let oldTree: Publisher['tree']
let newTree: Publisher['tree']
let useOld = true

beforeAll(async () => {
  publisher = await Publisher.create()
  old = await publisher.release(first)
  oldTree = new Map(publisher.tree)
  made = await publisher.release(second)
  newTree = publisher.tree
  server = new LyingServer(() => (useOld ? oldTree : newTree))
  address = await server.listen()
  start = await temporaryFolderKept()
})
afterAll(async () => {
  await server.close()
})

async function temporaryFolderKept(): Promise<string> {
  const { mkdtemp } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-lying-'))
  afterAll(async () => (await import('node:fs/promises')).rm(folder, { recursive: true, force: true }))
  useOld = true
  await engineOn(folder).update()
  useOld = false
  return folder
}

function engineOn(folder: string, options: Partial<EngineOptions> = {}) {
  return createEngine({
    folder,
    server: address,
    trust: publisher.trust,
    clock: () => NOW + 1000,
    logFile: false,
    lockPatienceMs: 0,
    retry: { tries: 2, firstPauseMs: 1, longestPauseMs: 3 },
    httpLimits: { idleTimeoutMs: 300, slowBytesPerSecond: 2000, slowWindowMs: 400 },
    ...options,
  })
}

async function copyOf(folder: string): Promise<string> {
  const { cp } = await import('node:fs/promises')
  const copy = await temporaryFolder('fast')
  await cp(folder, copy, { recursive: true, preserveTimestamps: true })
  return copy
}

/** A length that promises too much is found out only when every byte is there and fits: then it does no harm. */
const anyTransport = /^LA_(NETWORK|TIMEOUT|SIZE|HTTP_STATUS|RANGE|REDIRECT|ENCODING|HASH)$/
const anyMetadata =
  /^(LA_(ACCESS|NETWORK|TIMEOUT|SIZE|HTTP_STATUS|REDIRECT|ENCODING)|MAN_[A-Z_]+|TRUST_[A-Z_]+|KEL_[A-Z_]+)$/

/** Lies that an honest reader gets over, because nothing in them is wrong. */
const harmless = new Set([
  'a Date of ten years ago',
  'a tag that changes each time',
  'a connection closed after each answer',
  'the whole file for a range',
])

/** The exact answer of the table where it names one. */
const wanted: Readonly<Record<string, RegExp>> = {
  'closes before headers': /^LA_NETWORK$/,
  'resets before headers': /^LA_NETWORK$/,
  'stays silent': /^LA_TIMEOUT$/,
  'a stall at half': /^LA_TIMEOUT$/,
  'a stall at 99 %': /^LA_TIMEOUT$/,
  'one byte now and then': /^LA_TIMEOUT$/,
  'a redirect to itself': /^LA_REDIRECT$/,
  'a redirect to another host': /^LA_REDIRECT$/,
  'a redirect to a file address': /^LA_REDIRECT$/,
  'a redirect to metadata of a cloud': /^LA_REDIRECT$/,
  'gzip unasked': /^LA_ENCODING$/,
  'a brotli bomb': /^LA_ENCODING$/,
  'another range than asked': /^LA_RANGE$/,
  'the wrong blob of the right length': /^LA_HASH$/,
  'a range with changed bytes': /^LA_HASH$/,
  '404': /^LA_HTTP_STATUS$/,
  '410': /^LA_HTTP_STATUS$/,
  '500': /^LA_HTTP_STATUS$/,
  '429 for a day': /^LA_HTTP_STATUS$/,
  'chunks without end': /^LA_SIZE$/,
  'length too short': /^LA_(SIZE|NETWORK)$/,
  'a negative length': /^LA_(SIZE|NETWORK)$/,
  'two lengths': /^LA_(SIZE|NETWORK)$/,
  'bad chunk sizes': /^LA_NETWORK$/,
  'length and chunks at once': /^LA_(SIZE|NETWORK)$/,
  'range not satisfiable': /^LA_RANGE$/,
  '403': /^LA_HTTP_STATUS$/,
  '503 with Retry-After': /^LA_HTTP_STATUS$/,
}

/** Runs one update against one lie and checks that code, trust and install end as they must. */
async function against(where: RegExp, how: Lie, times: number | undefined): Promise<{ code: string; folder: string }> {
  const folder = await copyOf(start)
  const before = await treeText(folder)
  const trustBefore = await readFile(join(folder, '.updates/trust/trust.json'), 'utf8')
  server.lie = { where, how, ...(times === undefined ? {} : { times }) }
  server.told = 0
  const code = await engineOn(folder)
    .update()
    .then(
      () => 'done',
      (error: unknown) => (error as { code?: string }).code ?? String(error),
    )
  const tree = await treeText(folder)
  if (code === 'done') expect(tree).toBe(expectedText(made.files, sha256Hex))
  else expect(tree).toBe(before)
  const trust = JSON.parse(await readFile(join(folder, '.updates/trust/trust.json'), 'utf8')) as {
    channels: { stable: { manifest_sequence: number; head_sequence: number } }
  }
  const floors = JSON.parse(trustBefore) as typeof trust
  expect(trust.channels.stable.manifest_sequence).toBeGreaterThanOrEqual(floors.channels.stable.manifest_sequence)
  expect(trust.channels.stable.head_sequence).toBeGreaterThanOrEqual(floors.channels.stable.head_sequence)
  server.lie = undefined
  return { code, folder }
}

describe(`a server that tells lies of ${Object.keys(lies).length} kinds (rows 191, 192, 195, 198)`, () => {
  it('has at least forty of them', () => {
    console.info(`behaviours of the lying server: ${Object.keys(lies).length}`)
    expect(Object.keys(lies).length).toBeGreaterThanOrEqual(40)
    expect(old.model.version).toBe('2026.11.21-1')
  })

  describe.each(Object.entries(lies))('%s', (name, how) => {
    // The real program meets each of these in binary.test.ts.
    it.runIf(everyDocument)(
      'for every blob: the old release stays, the code says why, and honesty afterwards repairs it',
      async () => {
        const { code, folder } = await against(/^files\//, how, undefined)
        if (harmless.has(name)) expect(code).toBe('done')
        else if (name !== 'length too long' || code !== 'done') expect(code).toMatch(wanted[name] ?? anyTransport)
        if (code !== 'done') await engineOn(folder).update()
        expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
      },
    )

    it('for head and manifest: nothing is decided from it', async () => {
      const documents = [/head\.json$/, /manifests\/.*-2\.json$/, /sigs\.json$/, /\.cesr$/]
      const turn = Object.keys(lies).indexOf(name)
      for (const where of everyDocument ? documents : [documents[turn % 4] as RegExp]) {
        const { code } = await against(where, how, undefined)
        if (harmless.has(name)) expect(code).toBe('done')
        else expect(code, String(where)).toMatch(anyMetadata)
      }
    })

    it('once: the next try gets it', async () => {
      const fatal = [
        '404',
        '410',
        '403',
        '204 No Content',
        '304 without a condition',
        'a redirect to another host',
        'a redirect to a file address',
        'a redirect to metadata of a cloud',
        'gzip unasked',
        'a brotli bomb',
        '429 for a day',
        'two answers in one',
        'a range with changed bytes',
        'the wrong blob of the right length',
        'a range without saying which',
        'another range than asked',
      ]
      const { code } = await against(/^files\//, how, 1)
      if (!fatal.includes(name)) expect(code).toBe('done')
    })
  })
})
