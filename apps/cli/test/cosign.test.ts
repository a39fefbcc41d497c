import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createHome } from '@keyturn/publisher/keys'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.connect()
})
afterEach(async () => {
  await world.remove()
})

const keyturn = (...args: string[]): Promise<Answer> => command(world, args)

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const { ok, data, error } = await keyturn(...args)
  if (!ok) throw new Error(JSON.stringify(error))
  return data
}

const second = (...args: string[]): Promise<Answer> => command(world, args, { home: world.path('second') })

/** A home of another person, of the same product unless it is said otherwise. */
async function secondHome(product = 'test'): Promise<string> {
  const passphrase = new TextEncoder().encode('test')
  const names = { folder: world.path('second'), product, channel: 'stable', rolesDays: 365, clock: Date.now }
  await createHome({ ...names, passphrase, nextPassphrase: passphrase, scryptLogN: 4 })
  const { data } = await second('roles', 'show')
  return (data['release'] as { keys: string[] }).keys[0] ?? ''
}

async function toSecond(version: string): Promise<string> {
  await rm(world.path('to-second'), { recursive: true, force: true })
  await cp(world.path('home/releases/stable', version), world.path('to-second'), { recursive: true })
  return world.path('to-second')
}

describe('a release that two people sign', () => {
  it('goes out once both signed, and not before', async () => {
    const { manifest } = await world.release()
    const key = await secondHome()
    await succeed('roles', 'propose', '--add-release', key, '--release-threshold', '2')
    expect((await keyturn('roles', 'seal')).error).toMatchObject({
      code: 'REL_COSIGN',
      hint: expect.stringContaining('--local'),
    })
    await succeed('roles', 'seal', '--local')
    expect((await keyturn('release', 'publish')).error.code).toBe('MAN_THRESHOLD')
    const folder = await toSecond(manifest.version)
    const shown = await second('release', 'cosign', folder, '--dry-run')
    expect(shown.data).toMatchObject({ version: manifest.version, channel: 'stable' })
    expect((shown.data['signed_by'] as string[]).length).toBe(1)
    expect((await second('release', 'cosign', folder, '--sha256', '0'.repeat(64))).error.code).toBe('CLI_USAGE')
    const signed = await second('release', 'cosign', folder)
    expect(signed.data).toMatchObject({ key })
    await succeed('release', 'sign', manifest.version, '--add-signatures', `${folder}/manifest.sigs.json`)
    await succeed('release', 'publish')
    const engine = await world.engine()
    await engine.update()
    expect((await engine.status()).version).toBe(manifest.version)
    await mkdir(world.path('project'))
    await cp(await world.source('again'), world.path('project/client'), { recursive: true })
    await writeFile(world.path('project/keyturn.json'), '{"schema": 1, "source": "client"}')
    expect((await keyturn('ship', '--project', world.path('project/keyturn.json'))).error.code).toBe('REL_COSIGN')
  })

  it('is refused at once when it is to be scheduled: nothing is sealed that nobody could open', async () => {
    await world.release()
    const key = await secondHome()
    await succeed('roles', 'propose', '--add-release', key, '--release-threshold', '2')
    await succeed('roles', 'seal', '--local')
    const tree = world.path('trees', 'next')
    await succeed('pack', 'tree', '--input', await world.source('next'), '--output', tree, '--level', '1')
    await succeed('release', 'prepare', tree, '--release', 'next')
    const at = `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z`
    const before = await readFile(world.path('home/home.json'), 'utf8')
    const { error } = await keyturn('release', 'schedule', 'next', '--at', at)
    expect(error).toMatchObject({ code: 'REL_COSIGN', message: expect.stringContaining('needs 2 signatures') })
    expect(await readFile(world.path('home/home.json'), 'utf8')).toBe(before)
  })

  it('is not signed for another product, tree or role (REL_COSIGN_OTHER) (row 351)', async () => {
    const { manifest, tree } = await world.release()
    await secondHome('other')
    const folder = await toSecond(manifest.version)
    expect((await second('release', 'cosign', folder)).error.code).toBe('REL_COSIGN_OTHER')
    await rm(world.path('second'), { recursive: true })
    const key = await secondHome()
    expect((await second('release', 'cosign', folder, '--tree', tree)).ok).toBe(true)
    await writeFile(world.path('more.txt'), 'x')
    await cp(tree, world.path('other-tree'), { recursive: true })
    await writeFile(world.path('other-tree/more.txt'), 'x')
    const compare = ['release', 'cosign', folder, '--tree', world.path('other-tree')]
    expect((await second(...compare)).error).toMatchObject({ code: 'REL_COSIGN_OTHER', message: /more.txt/ })
    await rm(world.path('other-tree/more.txt'))
    await writeFile(world.path('other-tree/pack/data.m2p'), 'x')
    expect((await second(...compare)).error).toMatchObject({ code: 'REL_COSIGN_OTHER', message: /data.m2p/ })
    // The role document does not list that key: its signature does not count here.
    const file = `${folder}/manifest.sigs.json`
    const text = await readFile(file, 'utf8')
    const envelope = JSON.parse(text) as { signatures: { keyid: string }[] }
    await writeFile(
      file,
      JSON.stringify({ ...envelope, signatures: envelope.signatures.filter(({ keyid }) => keyid === key) }),
    )
    const back = await keyturn('release', 'sign', manifest.version, '--add-signatures', file)
    expect(back.error.code).toBe('REL_COSIGN_OTHER')
    await writeFile(
      `${folder}/manifest.json`,
      (await readFile(`${folder}/manifest.json`, 'utf8')).replace('data', 'atad'),
    )
    expect((await second('release', 'cosign', folder)).error.code).toMatch(/^MAN_/)
  })
})

describe('keyturn roles seal', () => {
  it('signs with every key of a role that the home has, as many as the document wants', async () => {
    await world.release()
    await succeed('roles', 'propose', '--add-release', 'new', '--release-threshold', '2')
    await succeed('roles', 'seal')
    await succeed('roles', 'propose', '--add-head', 'new', '--head-threshold', '2')
    await succeed('roles', 'seal')
    const engine = await world.engine()
    await engine.update()
    expect((await engine.status()).trust).toBe('current')
    await succeed('release', 'renew')
  })

  it('raises the epoch and publishes: what everybody may have goes on under a manifest of the new one', async () => {
    const first = await world.release('one')
    const engine = await world.engine()
    await engine.update()
    await world.release('two')
    await succeed('release', 'rollout', '--percent', '20')
    await succeed('roles', 'propose', '--raise-epoch')
    await succeed('roles', 'seal')
    const head = (await world.client?.getChannel('test', 'stable'))?.head
    expect(head?.sequence).toBe(1)
    await engine.update()
    const { version } = await engine.status()
    expect([first.manifest.version]).not.toContain(version)
    const listed = (await succeed('release', 'list'))['releases'] as { version: string; state: string }[]
    expect(listed.at(-1)).toMatchObject({ version, state: 'offered' })
    expect(await readFile(world.path('game/pack/data.m2p'))).toEqual(await readFile(`${first.tree}/pack/data.m2p`))
    await succeed('release', 'renew')
  })
})
