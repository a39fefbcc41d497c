import { utf8Encode } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHome } from '../../src/home-session.ts'
import { findRelease } from '../../src/records/store.ts'
import { uploadBases } from '../../src/server/upload-bases.ts'
import { HomeWorld } from '../support/home-world.ts'

let world: HomeWorld
beforeEach(async () => {
  world = await HomeWorld.create()
})
afterEach(async () => {
  await world.remove()
})

/** A server that shows a release with these bytes as its manifest. */
function serverWith(manifest: Uint8Array | undefined): ReleaseServerClient {
  const client: Pick<ReleaseServerClient, 'getChannel' | 'fetchPublic'> = {
    getChannel: () =>
      Promise.resolve({ manifest: { version: '9.9', sequence: 9, sha256: 'ab'.repeat(32), length: 1 } } as never),
    fetchPublic: () => Promise.resolve(manifest as never),
  }
  return client as ReleaseServerClient
}

describe('uploadBases()', () => {
  it('leaves out what a server shows as a manifest and is none: only a saving is lost', async () => {
    await world.release()
    const home = await openHome(world.host())
    const newest = await findRelease(home.paths, 'stable')
    expect(await uploadBases(home, serverWith(newest.bytes), newest)).toHaveLength(1)
    for (const text of ['', '{', '[]', '{"format":"m2pack"}', '\u0000'])
      expect(await uploadBases(home, serverWith(utf8Encode(text)), newest), text).toEqual([])
  })
})
