import { utf8Encode } from '@keyturn/primitives'
import { initialTrustState, parseTrustRoot, verifyRelease } from '@keyturn/manifest'
import { expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { createTokenByCommand, runServer } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { fileUrl, sha256Hex, someBytes, temporaryFolder } from './support.ts'

it(
  'kill -9 in uploads and publishes: what was acknowledged is there, a channel is old or new, never mixed (row 237)',
  { timeout: 300_000 },
  async () => {
    const environment = { KEYTURN_DATA_DIR: await temporaryFolder() }
    const token = await createTokenByCommand(environment)
    const publisher = await TestPublisher.create()
    const acknowledged = new Set<string>()
    const published = new Map<string, string>()
    let process = await runServer(environment)
    const client = () => new ReleaseServerClient(process.url, { token, retries: 0 })
    await publisher.introduce(client())
    let lastHead = 0
    for (let round = 0; round < 6; round++) {
      const server = process
      // Each round dies while another request of the walk is on its way: an upload, a release, a head.
      let left = 3 + round * 3
      const killing: typeof fetch = (...request) => {
        const answer = fetch(...request)
        left -= 1
        if (left === 0) server.child.kill('SIGKILL')
        return answer
      }
      const doomed = new ReleaseServerClient(server.url, { token, retries: 0, fetch: killing })
      try {
        for (;;) {
          const blob = blobFromBytes(someBytes(20_000))
          await doomed.uploadBlob(blob)
          acknowledged.add(blob.sha256)
          const release = await publisher.release({
            'a.txt': utf8Encode(blob.sha256),
            'b.bin': await blob.read(0, blob.size),
          })
          published.set(release.pin.sha256, release.model.version)
          await publisher.publish(doomed, release)
          lastHead = publisher.headSequence
        }
      } catch {
        // The server is gone, in the middle of whatever it did.
      }
      await server.stop('SIGKILL')
      process = await runServer(environment)
      for (const hash of acknowledged) {
        const answer = await fetch(fileUrl(process.url, hash))
        expect([hash, answer.status, sha256Hex(new Uint8Array(await answer.arrayBuffer()))]).toEqual([hash, 200, hash])
      }
      const channel = await client().getChannel('metin2', 'stable')
      expect(channel?.head?.sequence ?? 0).toBeGreaterThanOrEqual(lastHead)
      if (channel?.manifest === null || channel === undefined) continue
      const get = async (path: string) => new Uint8Array(await (await fetch(process.url + path)).arrayBuffer())
      const decision = verifyRelease(
        {
          logs: [await get(`/kel/${publisher.events[0]?.prefix}.cesr`)],
          roles: await get('/roles/1.json'),
          head: await get('/head.json'),
          manifest: await get('/manifest.json'),
          signatures: await get('/manifest.sigs.json'),
        },
        initialTrustState(parseTrustRoot(publisher.pin)),
        { channel: 'stable', nowMs: Date.now() },
      )
      expect(decision.outcome).toBe('accepted')
      expect(published.get(channel.manifest.sha256)).toBe(channel.manifest.version)
      for (const { sha256 } of decision.outcome === 'accepted' ? decision.manifest.files : [])
        expect((await fetch(fileUrl(process.url, sha256), { method: 'HEAD' })).status).toBe(200)
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(6)
    console.info(`six kills: ${acknowledged.size} blobs and ${lastHead} heads acknowledged, none lost`)
    await process.stop()
  },
)
