import { playerConfig } from '../support/player-config.ts'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { confirmBundle, runningVersion } from '../../src/player/bundle-pointer.ts'
import { SelfUpdate } from '../../src/player/self-update.ts'
import { temporaryFolder, treeFetch } from '../../../../packages/install-engine/test/support/install.ts'
import { NOW, Publisher } from '../../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../../packages/install-engine/test/support/publisher.ts'

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** A launcher that has its own folder, and a studio that releases on channel "launcher". */
async function studio() {
  const publisher = await Publisher.create()
  const folder = await temporaryFolder()
  await mkdir(join(folder, 'install'))
  const config = playerConfig({ server: 'http://releases.test/', trust: publisher.trust })
  const update = (runningSha256?: string): SelfUpdate =>
    new SelfUpdate({
      config,
      folder,
      runningSha256,
      engine: {
        fetch: treeFetch(publisher.tree),
        clock: () => NOW + 1000,
        retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
      },
    })
  const release = async (
    version: string,
    code: string,
    { node = 24, revoked = [] }: { node?: number | undefined; revoked?: readonly MadeRelease[] } = {},
  ): Promise<MadeRelease> =>
    await publisher.release(
      { 'player.cjs': code, 'node.json': `{"node":${node}}` },
      {
        version,
        channel: 'launcher',
        head: (head) => ({ ...head, revoked: revoked.map(({ pin: { sequence, sha256 } }) => ({ sequence, sha256 })) }),
      },
    )
  const pointer = async (): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(folder, 'current.json'), 'utf8')) as Record<string, unknown>
  /** Takes the newest build and runs it once, well. */
  const take = async (code: string): Promise<void> => {
    expect(await update().check()).toBe(true)
    await update(hash(code)).confirm()
  }
  return { folder, update, release, pointer, take }
}

describe('a launcher that updates itself', () => {
  it('keeps the build before for a fall, unless that one was withdrawn', async () => {
    const { folder, update, release, pointer, take } = await studio()
    const one = await release('1.1.0', 'one')
    await take('one')
    await release('1.2.0', 'two')
    expect(await update(hash('one')).check()).toBe(true)
    expect(await pointer()).toMatchObject({ version: '1.2.0', confirmed: false, previous: { version: '1.1.0' } })
    await release('1.3.0', 'three', { revoked: [one] })
    expect(await update(hash('two')).check()).toBe(true)
    expect(await pointer()).toMatchObject({ version: '1.3.0' })
    expect(await pointer()).not.toHaveProperty('previous')
    const bundles = (await readdir(folder)).filter((name) => name.endsWith('.cjs'))
    expect(bundles.toSorted()).toEqual([`${hash('three')}.cjs`, `${hash('two')}.cjs`].toSorted())
  })

  it('forgets a withdrawn one also when there is nothing new', async () => {
    const { update, release, pointer, take } = await studio()
    const one = await release('1.1.0', 'one')
    await take('one')
    await release('1.2.0', 'two')
    await take('two')
    expect(await pointer()).toMatchObject({ version: '1.2.0', previous: { version: '1.1.0' } })
    await release('1.2.1', 'two', { revoked: [one] })
    expect(await update(hash('two')).check()).toBe(false)
    expect(await pointer()).not.toHaveProperty('previous')
  })

  it('leaves a build alone that needs another Node', async () => {
    const { update, release, folder } = await studio()
    await release('2.0.0', 'for a newer Node', { node: 26 })
    expect(await update().check()).toBe(false)
    await expect(readFile(join(folder, 'current.json'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('takes the signed bytes and no others: a file that was changed after the update is not run', async () => {
    const { update, release, folder } = await studio()
    await release('1.1.0', 'one')
    const updating = update()
    const place = join(folder, 'install/player.cjs')
    await updating.check()
    await writeFile(place, 'two')
    await writeFile(join(folder, 'current.json'), '{}')
    expect(await update().check()).toBe(true) // repaired first
    expect(JSON.parse(await readFile(join(folder, 'current.json'), 'utf8'))).toMatchObject({ sha256: hash('one') })
  })

  it('brings back a bundle whose file a virus scanner or a disk took, and leaves a failed one alone (row 377)', async () => {
    const { folder, update, release, take } = await studio()
    await release('1.1.0', 'one')
    await take('one')
    const place = join(folder, `${hash('one')}.cjs`)
    await rm(place)
    expect(await update().check()).toBe(true)
    expect(await readFile(place, 'utf8')).toBe('one')
    await writeFile(place, 'on')
    expect(await update().check()).toBe(true)
    expect(await readFile(place, 'utf8')).toBe('one')
    expect(await update().check()).toBe(false)
  })

  it('knows the version of the bundle that runs, which need not be the one inside the executable', async () => {
    const { folder, update, release, take } = await studio()
    expect(await runningVersion(folder, undefined, '1.0.0')).toBe('1.0.0')
    await release('1.1.0', 'one')
    await take('one')
    await release('1.2.0', 'two')
    expect(await update(hash('one')).check()).toBe(true)
    expect(await runningVersion(folder, hash('one'), '1.0.0')).toBe('1.1.0')
    expect(await runningVersion(folder, hash('two'), '1.0.0')).toBe('1.2.0')
    expect(await runningVersion(folder, undefined, '1.0.0')).toBe('1.0.0')
  })

  it('is not ended by a pointer that cannot be written when it says that it works (row 377)', async () => {
    const { folder, update, release, pointer } = await studio()
    await release('1.1.0', 'one')
    expect(await update().check()).toBe(true)
    const fs = faultFileSystem({ plan: { at: 0, mode: 'fail', lasting: true } })
    await confirmBundle(folder, hash('one'), fs)
    expect(await pointer()).toMatchObject({ confirmed: false })
    await confirmBundle(folder, hash('one'))
    expect(await pointer()).toMatchObject({ confirmed: true })
  })
})
