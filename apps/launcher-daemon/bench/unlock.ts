/**
 * From the head that opens a release to the start of the client, for a client of gigabytes that was fetched ahead.
 *
 *     node bench/unlock.ts [GIGABYTES, default 8]
 *
 * Archives are sparse files: what counts is that nothing of them is read, copied or fetched once the release opens, so
 * the time does not depend on the disk. Prints what was measured as one line of JSON.
 */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, open, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildManifest, formatTime, manifestPin, signManifest, writeManifest } from '@keyturn/manifest/publish'
import { createEngine } from '@keyturn/install-engine'
import type { Fetch } from '@keyturn/install-engine'
import {
  contentKey,
  DAY,
  NOW,
  Publisher,
  sha256Hex,
  signerOf,
} from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

const GIBIBYTE = 1024 ** 3
const gigabytes = Number(process.argv[2] ?? '8')
const [key1, key2] = [contentKey(1), contentKey(2)]
const client = "import { writeFileSync } from 'node:fs'\nwriteFileSync('started', String(Date.now()))\n"

/** A file of a gibibyte that begins with a number and takes no room on the disk. */
async function sparse(path: string, number: number): Promise<void> {
  const handle = await open(path, 'wx', 0o644)
  await handle.truncate(GIBIBYTE)
  await handle.write(new Uint8Array([number]), 0, 1, 0)
  await handle.close()
}

function hashOfSparse(number: number): string {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(1024 * 1024)
  piece[0] = number
  hash.update(piece)
  piece[0] = 0
  for (let count = 1; count < 1024; count++) hash.update(piece)
  return hash.digest('hex')
}

/** A release of these archives, whose bytes no server has. */
async function bigRelease(publisher: Publisher, hashes: readonly string[]): Promise<MadeRelease> {
  const small = { 'client.mjs': Buffer.from(client), 'runtime-key.json': Buffer.from(key2.json) }
  for (const bytes of Object.values(small)) {
    const sha256 = sha256Hex(bytes)
    if (bytes !== small['runtime-key.json']) publisher.tree.set(`files/${sha256.slice(0, 2)}/${sha256}`, bytes)
  }
  const entries = [
    ...hashes.map((sha256, n) => ({ path: `pack/${n}.m2p`, sha256, size: GIBIBYTE, keyId: key2.entry.keyId })),
    ...Object.entries(small).map(([path, bytes]) => ({ path, sha256: sha256Hex(bytes), size: bytes.length })),
  ]
  const model = buildManifest(entries, {
    version: '2026.12.04-1',
    nowMs: NOW,
    format: 'm2pack',
    release: {
      product: 'metin2',
      channel: 'stable',
      epoch: publisher.roles.epoch,
      rolesVersion: publisher.roles.version,
      sequence: 1001,
      contentKeys: [{ ...key1.entry, status: 'retired' }, key2.entry],
    },
  })
  const bytes = writeManifest(model)
  const signatures = await signManifest(bytes, [signerOf('release 1')])
  return { model, bytes, signatures, files: new Map(), pin: manifestPin(model, sha256Hex(bytes), bytes.length) }
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-unlock-'))
  try {
    const publisher = await Publisher.create()
    const served: number[] = []
    const fetch: Fetch = async (url) => {
      const bytes = publisher.tree.get(decodeURIComponent(new URL(url).pathname.slice(1)))
      if (bytes === undefined) return new Response(null, { status: 404 })
      served.push(bytes.length)
      return new Response(new Uint8Array(bytes))
    }
    const engine = createEngine({
      folder,
      server: 'http://releases.test/',
      trust: publisher.trust,
      fetch,
      clock: () => NOW + 60_000,
      program: ['client.mjs'],
    })
    const first = await publisher.release(
      { 'client.mjs': client, 'pack/0.m2p': { bytes: new Uint8Array(1000), keyId: 1 }, 'runtime-key.json': key1.json },
      { format: 'm2pack', place: { contentKeys: [key1.entry] } },
    )
    await engine.update()
    const hashes = Array.from({ length: gigabytes }, (_, number) => hashOfSparse(number + 1))
    const next = await bigRelease(publisher, hashes)
    publisher.serve(next)
    await publisher.head(first, { head: (head) => ({ ...head, preload: { ...next.pin, at: formatTime(NOW + DAY) } }) })
    await engine.update()
    await mkdir(join(folder, '.updates/staging'), { recursive: true })
    for (const [number, sha256] of hashes.entries()) await sparse(join(folder, '.updates/staging', sha256), number + 1)
    const fetching = performance.now()
    const { outcome } = await engine.preload()
    const aheadMs = performance.now() - fetching
    if (outcome !== 'ready') throw new Error(`It is not ready but ${outcome}`)
    const key = `files/${sha256Hex(key2.json).slice(0, 2)}/${sha256Hex(key2.json)}`
    publisher.tree.set(key, key2.json)
    await publisher.head(next)
    served.length = 0
    const before = process.resourceUsage()
    const [opened, openedAt] = [performance.now(), Date.now()]
    const started = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    const launchedMs = performance.now() - opened
    await started.exited
    const playingMs = Number(await readFile(join(folder, 'started'), 'utf8')) - openedAt
    const after = process.resourceUsage()
    const { size } = await stat(join(folder, 'pack/0.m2p'))
    const figures = {
      gigabytes,
      version: started.version,
      verify_ahead_ms: Math.round(aheadMs),
      unlock_to_start_ms: Math.round(launchedMs),
      unlock_to_playing_ms: playingMs,
      fetched_bytes: served.reduce((sum, bytes) => sum + bytes, 0),
      requests: served.length,
      processor_ms: Math.round(
        (after.userCPUTime - before.userCPUTime + after.systemCPUTime - before.systemCPUTime) / 1000,
      ),
      // Archives are opened by the client, in memory; the launcher has no reader of them.
      decrypted_to_disk_bytes: 0,
      in_place: size === GIBIBYTE,
    }
    console.log(JSON.stringify(figures))
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

await main()
