import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { engineFor, installedTree } from './support/install.ts'
import { noise, Publisher } from './support/publisher.ts'
import type { TestFiles } from './support/publisher.ts'

const files: TestFiles = {
  'game.txt': 'game',
  'voice/de.bin': { bytes: noise(300_000, 1), group: 'voice-de' },
  'voice/fr.bin': { bytes: noise(310_000, 2), group: 'voice-fr' },
  'art/hd.bin': { bytes: noise(400_000, 3), group: 'hd' },
}
const components = [
  { name: 'voice-de', title: 'Deutsche Stimmen', default: true },
  { name: 'voice-fr', title: 'Voix françaises', default: true },
  { name: 'hd', title: 'High-resolution art', default: false },
]

async function names(folder: string): Promise<string[]> {
  return [...(await installedTree(folder)).keys()].toSorted()
}

describe('components', () => {
  it('follow their default until somebody chooses, and are shown with their sizes', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files, { place: { components } })
    const { engine, folder } = await engineFor(publisher)
    expect(await engine.offer()).toMatchObject({
      version: '2026.11.21-1',
      notes: 'Notes of 1',
      bytes: 4,
      components: [
        { name: 'voice-de', title: 'Deutsche Stimmen', bytes: 300_000, isChosen: true },
        { name: 'voice-fr', bytes: 310_000, isChosen: true },
        { name: 'hd', bytes: 400_000, isChosen: false },
      ],
    })
    expect(await names(folder)).toEqual([])
    await engine.update()
    expect(await names(folder)).toEqual(['game.txt', 'voice/de.bin', 'voice/fr.bin'])
    expect((await engine.status()).components.map(({ isChosen }) => isChosen)).toEqual([true, true, false])
  })

  it('that are chosen or left out later are downloaded or removed, and nothing else is touched', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files, { place: { components } })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const choice = { 'voice-fr': false, hd: true }
    const changed = await engineFor(publisher, { folder, components: choice })
    expect(await changed.engine.update()).toMatchObject({
      outcome: 'repaired',
      writtenFiles: 1,
      removedFiles: 1,
      downloadedBytes: 400_000,
    })
    expect(await names(folder)).toEqual(['art/hd.bin', 'game.txt', 'voice/de.bin'])
    expect(await changed.engine.update()).toMatchObject({ outcome: 'up-to-date', removedFiles: 0 })
    expect(await changed.engine.repair()).toMatchObject({ outcome: 'up-to-date', removedFiles: 0 })
    expect(await names(folder)).toEqual(['art/hd.bin', 'game.txt', 'voice/de.bin'])
  })

  it('keep a file of theirs that the player changed when they are left out', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files, { place: { components } })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    await writeFile(join(folder, 'voice/fr.bin'), 'my own')
    const changed = await engineFor(publisher, { folder, components: { 'voice-fr': false } })
    expect(await changed.engine.update()).toMatchObject({ removedFiles: 0, keptFiles: ['voice/fr.bin'] })
    expect(await names(folder)).toContain('voice/fr.bin')
  })

  it('of a later release follow its default for a player who chose before; a list of old means just that', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files, { place: { components } })
    const { engine, folder } = await engineFor(publisher, { components: { hd: true } })
    await engine.update()
    const old = await engineFor(publisher, { groups: ['hd'] })
    await old.engine.update()
    await publisher.release(
      { ...files, 'voice/it.bin': { bytes: noise(9_000, 7), group: 'voice-it' } },
      { place: { components: [...components, { name: 'voice-it', title: 'Voci italiane', default: true }] } },
    )
    await engine.update()
    await old.engine.update()
    expect(await names(folder)).toEqual(['art/hd.bin', 'game.txt', 'voice/de.bin', 'voice/fr.bin', 'voice/it.bin'])
    expect(await names(old.folder)).toEqual(['art/hd.bin', 'game.txt'])
  })

  it('that are left out do not stop a start', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ ...files, 'client.mjs': 'process.exit(0)' }, { place: { components } })
    const { engine } = await engineFor(publisher, { components: { 'voice-de': false }, program: ['client.mjs'] })
    await engine.update()
    const started = await engine.launch({ offline: true, stdio: ['ignore', 'ignore', 'ignore'] })
    expect(await started.exited).toBe(0)
  })
})

describe('a folder that holds the game already', () => {
  it('is taken over: equal files are not downloaded, others by their pieces, and the player’s own stay', async () => {
    const publisher = await Publisher.create()
    const big = noise(3_000_000, 4)
    const older = big.slice()
    older.set(noise(500, 9), 1_200_000)
    await publisher.release(
      { 'pack/a.bin': noise(900_000, 2), 'pack/b.bin': big, 'settings.cfg': 'default' },
      {
        place: { keep: ['settings.cfg'] },
      },
    )
    const { engine, folder, served } = await engineFor(publisher)
    await mkdir(join(folder, 'pack'))
    await writeFile(join(folder, 'pack/a.bin'), noise(900_000, 2))
    await writeFile(join(folder, 'pack/b.bin'), older)
    await writeFile(join(folder, 'settings.cfg'), 'mine')
    await writeFile(join(folder, 'screenshot.png'), 'mine too')
    const result = await engine.update()
    expect(result).toMatchObject({ outcome: 'updated', version: '2026.11.21-1', removedFiles: 0 })
    expect(result.downloadedBytes).toBeLessThan(400_000)
    expect(served.some(({ path }) => path.includes('/files/') && path.length > 80)).toBe(false)
    const tree = await installedTree(folder)
    expect(Buffer.from(tree.get('pack/b.bin') as Uint8Array).equals(big)).toBe(true)
    expect(Buffer.from(tree.get('settings.cfg') as Uint8Array).toString()).toBe('mine')
    expect(tree.has('screenshot.png')).toBe(true)
  })
})

describe('a download that was not allowed', () => {
  it('is not begun, says how large it would be, and comes when it is asked for', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'a.bin': noise(300_000, 1), 'client.mjs': 'process.exit(0)' })
    const { engine, served, events } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update({ mayDownload: () => false }) // the first install was asked for
    await publisher.release({ 'a.bin': noise(310_000, 2), 'client.mjs': 'process.exit(0)' })
    served.length = 0
    const asked: number[] = []
    const refusal = engine.update({ mayDownload: ({ downloadBytes }) => (asked.push(downloadBytes), false) })
    await expect(refusal).rejects.toMatchObject({ code: 'LA_NOT_NOW', details: { version: '2026.11.21-2' } })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toBeGreaterThan(0)
    expect(served.filter(({ path, bytes }) => path.startsWith('files/') && bytes > 50_000)).toEqual([])
    const started = await engine.launch({ mayDownload: () => false, stdio: ['ignore', 'ignore', 'ignore'] })
    expect(started).toMatchObject({ version: '2026.11.21-1', offline: false })
    expect(events.some((event) => event.type === 'notice' && event.code === 'LA_NOT_NOW')).toBe(true)
    await started.exited
    expect(await engine.update({ mayDownload: () => true })).toMatchObject({ version: '2026.11.21-2' })
  })
})
