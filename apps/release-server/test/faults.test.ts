import { nodeFileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { ServerError } from '../src/errors.ts'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { streamOf } from '../src/storage/hashing.ts'
import { blobFromBytes } from '@keyturn/release-client'
import { fileUrl, sha256Hex, someBytes, startServer, temporaryFolder } from './support.ts'

const bytes = someBytes(600_000)
const name = sha256Hex(bytes)
const uploadId = 'an-upload-of-a-test'

/**
 * Runs `work` with the n-th change to the disk failing, for n = 0, 1, 2 … until a run passes; then looks at what is
 * left.
 */
async function eachFault(
  mode: 'fail' | 'crash',
  code: string,
  work: (store: Awaited<ReturnType<typeof openFolderBlobStore>>) => Promise<unknown>,
  after: (folder: string, error: unknown) => Promise<void>,
): Promise<number> {
  for (let at = 0; ; at++) {
    const folder = await temporaryFolder()
    await openFolderBlobStore(folder)
    const fs = faultFileSystem({ plan: { at, mode, code } })
    let failure: unknown
    const store = await openFolderBlobStore(folder, { fs }).catch((error: unknown) => {
      failure = error
      return undefined
    })
    if (store !== undefined)
      await work(store).catch((error: unknown) => {
        failure = error
      })
    if (!fs.fired) return at
    expect(fs.openHandles).toBe(0)
    await after(folder, failure)
  }
}

describe('folder blob store, with each change to the disk failing in turn', () => {
  it.each(['fail', 'crash'] as const)(
    'put (%s): the blob is whole or absent, never torn; 507 for a full disk (rows 237, 240)',
    async (mode) => {
      const codes = new Set<string>()
      const faults = await eachFault(
        mode,
        'ENOSPC',
        (store) => store.put(name, streamOf(bytes.subarray(0, 300_000), bytes.subarray(300_000))),
        async (folder, failure) => {
          const store = await openFolderBlobStore(folder)
          const info = await store.stat(name)
          if (info !== undefined) expect(info.size).toBe(bytes.length)
          else expect(failure).toBeDefined()
          if (failure instanceof ServerError) codes.add(failure.code)
          await store.put(name, streamOf(bytes))
          expect((await store.stat(name))?.size).toBe(bytes.length)
          await store.sweep(Date.now() + 10_000)
        },
      )
      expect(faults).toBeGreaterThan(5)
      if (mode === 'fail') expect([...codes]).toEqual(['UP_DISK_FULL'])
    },
  )

  it.each(['fail', 'crash'] as const)(
    'append and finish (%s): acknowledged bytes stay, the blob is whole or absent (row 237)',
    async (mode) => {
      let acknowledged = 0
      const faults = await eachFault(
        mode,
        'EIO',
        async (store) => {
          acknowledged = 0
          acknowledged = await store.append(uploadId, 0, streamOf(bytes.subarray(0, 300_000)), bytes.length)
          acknowledged = await store.append(
            uploadId,
            acknowledged,
            streamOf(bytes.subarray(acknowledged)),
            bytes.length,
          )
          await store.finish(uploadId, name, bytes.length)
        },
        async (folder) => {
          const store = await openFolderBlobStore(folder)
          if ((await store.stat(name)) === undefined) {
            const reached = await store.append(
              uploadId,
              acknowledged,
              streamOf(bytes.subarray(acknowledged)),
              bytes.length,
            )
            expect(reached).toBe(bytes.length)
            await store.finish(uploadId, name, bytes.length)
          }
          expect((await store.stat(name))?.size).toBe(bytes.length)
        },
      )
      expect(faults).toBeGreaterThan(5)
    },
  )
})

describe('a server in trouble', () => {
  it('answers 503 with Retry-After when no file can be opened, and recovers (row 257)', async () => {
    let exhausted = false
    const fs = {
      ...nodeFileSystem,
      open: (...of: Parameters<typeof nodeFileSystem.open>) =>
        exhausted
          ? Promise.reject(Object.assign(new Error('too many'), { code: 'EMFILE' }))
          : nodeFileSystem.open(...of),
    }
    const { url, client } = await startServer({ blobs: await openFolderBlobStore(await temporaryFolder(), { fs }) })
    const blob = blobFromBytes(someBytes(1000))
    await (await client(['blobs:write'])).uploadBlob(blob)
    exhausted = true
    const refused = await fetch(fileUrl(url, blob.sha256))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2'])
    exhausted = false
    expect((await fetch(fileUrl(url, blob.sha256))).status).toBe(200)
  })

  it('whose clock is set back keeps the order and the times of its audit log (row 256)', async () => {
    let now = Date.now()
    const { server } = await startServer({ clock: () => now })
    await server.createToken({ name: 'one', scopes: ['admin'] })
    now -= 86_400_000
    await server.createToken({ name: 'two', scopes: ['admin'] })
    const entries = (await server.context.metadata.list('audit')).map(
      ({ value }) => value as unknown as { sequence: number; at: string },
    )
    expect(entries.map(({ sequence }) => sequence)).toEqual([1, 2])
    expect(entries[1]?.at).toBe(entries[0]?.at)
  })
})
