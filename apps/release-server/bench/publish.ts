import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildManifest, manifestPin, signManifest, writeManifest } from '@keyturn/manifest/publish'
import { sha256Hex } from '@keyturn/primitives'
import { createReleaseServer } from '../src/index.ts'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { signerOf, TestPublisher } from '../test/publisher.ts'

// What a publish of an unchanged tree costs: 54,000 files, 4 GB by their sizes, all blobs there already. The bytes
// themselves are not made: nothing of them is read in such a publish.

const files = 54_000
const folder = await mkdtemp(join(tmpdir(), 'keyturn-bench-'))
const server = await createReleaseServer({ dataDir: folder, rates: { managementPerMinute: 1e9 } })
try {
  const { url } = await server.listen()
  const client = new ReleaseServerClient(url, {
    token: (await server.createToken({ name: 'bench', scopes: ['admin'] })).secret,
  })
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const launcher = blobFromBytes(new TextEncoder().encode('the launcher'))
  await client.uploadMissing([launcher])
  const names = Array.from({ length: files }, (_, at) => createHash('sha256').update(String(at)).digest('hex'))
  const now = Date.now()
  await server.context.metadata.transaction([], (records) =>
    records.put(
      'blobs',
      ...names.map((key) => ({
        key,
        value: { size: 80_000, created_ms: now, touched_ms: now - 7_200_000, marked_ms: null },
      })),
    ),
  )
  for (const sequence of [1, 2]) {
    const model = buildManifest(
      names.map((sha256, at) => ({ path: `data/${at >> 8}/file-${at}.bin`, sha256, size: 80_000 })),
      {
        version: `2026.11.21-${sequence}`,
        nowMs: publisher.now,
        format: 'm2pack',
        launcher: { path: 'Launcher.exe', sha256: launcher.sha256, size: launcher.size },
        release: { product: 'metin2', channel: 'stable', epoch: 1, rolesVersion: 1, contentKeys: [], sequence },
      },
    )
    const manifest = writeManifest(model)
    const signatures = await signManifest(manifest, [signerOf('release 1')])
    const head = await publisher.head({
      model,
      manifest,
      signatures,
      pin: manifestPin(model, sha256Hex(manifest), manifest.length),
      blobs: [],
    })
    const begun = performance.now()
    const missing = await client.missingBlobs(names)
    const asked = performance.now()
    await client.createRelease('metin2', { manifest, signatures })
    const created = performance.now()
    await client.publish('metin2', 'stable', { version: model.version, head })
    const done = performance.now()
    console.log(
      `publish ${sequence}: ${missing.length} uploads, ${((done - begun) / 1000).toFixed(2)} s in all (wanted 20): ` +
        `missing-blob query ${(asked - begun).toFixed(0)} ms, release ${(created - asked).toFixed(0)} ms, head ` +
        `${(done - created).toFixed(0)} ms; manifest ${(manifest.length / 1e6).toFixed(1)} MB`,
    )
  }
} finally {
  await server.close()
  await rm(folder, { recursive: true, force: true })
}
