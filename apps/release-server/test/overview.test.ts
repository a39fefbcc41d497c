import { hexEncode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { blobFromBytes } from '@keyturn/release-client'
import { day, keyId, TestPublisher } from './publisher.ts'
import { someBytes, startServer } from './support.ts'

const contentKey = (id: number, status: 'active' | 'retired' | 'revoked' = 'active') => ({
  keyId: id,
  verifierPub: hexEncode(new Uint8Array(32).fill(id)),
  commitment: hexEncode(new Uint8Array(32).fill(id)),
  status,
})

describe('what the dashboard shows besides releases', () => {
  it('keys: since when they are known, how old they are, when their rotation is due', async () => {
    let now = Date.now()
    const { server, client } = await startServer({ clock: () => now })
    const admin = await client(['admin'])
    const publisher = await TestPublisher.create({ now })
    await publisher.introduce(admin)
    expect(await admin.listKeys('metin2')).toMatchObject([
      { kind: 'release', name: keyId('release 1'), due_state: 'ok' },
      { kind: 'head', age_days: 0 },
      { kind: 'identity', name: 'event 0' },
    ])
    await publisher.publish(
      admin,
      await publisher.release({ 'a.txt': utf8Encode('a') }, { contentKeys: [contentKey(1)] }),
    )
    now += 80 * day
    publisher.now = now
    const admin2 = await client(['admin'])
    await publisher.publish(
      admin2,
      await publisher.release({ 'a.txt': utf8Encode('b') }, { contentKeys: [contentKey(2), contentKey(1, 'retired')] }),
    )
    expect(await admin2.listKeys('metin2')).toMatchObject([
      { kind: 'content', name: '2', state: 'active', age_days: 0, due_state: 'ok' },
      { kind: 'content', name: '1', state: 'retired', age_days: 80, due: null, due_state: null },
      { kind: 'release', age_days: 80, due_state: 'ok' },
      { kind: 'head', age_days: 80, due_state: 'soon' },
      { kind: 'identity', age_days: 80, due_state: 'ok' },
    ])
    now += 20 * day
    expect((await (await client(['admin'])).listKeys('metin2')).find(({ kind }) => kind === 'head')).toMatchObject({
      due_state: 'due',
    })
    await expect((await client(['admin'])).listKeys('none')).rejects.toMatchObject({ status: 404 })
    expect(server).toBeDefined()
  })

  it('storage: blobs and bytes, what is marked for deletion, open uploads, free space', async () => {
    let now = Date.now()
    const { server, client, url, token } = await startServer({ clock: () => now })
    const admin = await client(['admin'])
    expect(await admin.storage()).toMatchObject({
      blob_store: 'folder',
      metadata_store: 'sqlite',
      blobs: 0,
      bytes: 0,
      open_uploads: 0,
    })
    const blob = blobFromBytes(someBytes(1000))
    await admin.uploadBlob(blob)
    expect(await admin.storage()).toMatchObject({ blobs: 0 })
    await server.context.metadata.transaction([], async (records) => {
      const [record] = await records.getMany('blobs', [blob.sha256])
      await records.put('blobs', { key: blob.sha256, value: { ...(record?.value as object), marked_ms: now } as never })
    })
    await fetch(`${url}/v1/uploads`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await token(['blobs:write'])}`,
        'tus-resumable': '1.0.0',
        'upload-length': '50',
        'upload-metadata': `sha256 ${Buffer.from('ab'.repeat(32)).toString('base64')}`,
      },
    })
    now += 31_000
    const view = await admin.storage()
    expect(view).toMatchObject({
      blobs: 1,
      bytes: 1000,
      marked_blobs: 1,
      marked_bytes: 1000,
      open_uploads: 1,
      open_upload_bytes: 0,
    })
    expect(view.free_bytes).toBeGreaterThan(0)
  })
})
