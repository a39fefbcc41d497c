import { readdirSync } from 'node:fs'
import { chmod, cp, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listGolden, listState, readGoldenListing, readListing } from '../state.ts'
import type { StateFile, StateNotes } from '../state.ts'
import { World } from '../world.ts'

const states = join(import.meta.dirname, '../states')
const HOUR_MS = 3_600_000
const TIMEOUT_MS = 300_000

/**
 * Folders of installs: their files have the modes of the release, which version control keeps as far as they matter.
 */
const INSTALLS = ['install', 'interrupted']

/** Version control keeps no modes but "executable": what a home or a server creates is for its owner alone. */
async function ownerOnly(folder: string): Promise<void> {
  await chmod(folder, 0o700)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) await chmod(path, 0o600)
    else if (!INSTALLS.includes(entry.name)) await ownerOnly(path)
  }
}

/** What the client of an install says about the key it received. */
async function clientSays(world: World, name: string, trust: string): Promise<string> {
  const said = world.path('said')
  const output = await open(said, 'w')
  try {
    const { exited, confirmed } = await world
      .engine(name, trust)
      .launch({ update: false, stdio: ['ignore', output.fd, 'inherit'] })
    // A good start is recorded after the client has ended; until then the install is locked.
    await Promise.all([exited, confirmed])
  } finally {
    await output.close()
  }
  return (await readFile(said, 'utf8')).trim()
}

describe.each(readdirSync(states))('the state that version %s left', (version) => {
  const state = join(states, version)
  let folder = ''
  let notes: StateNotes
  let world: World

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyturn-compatibility-'))
    await cp(state, folder, { recursive: true })
    await ownerOnly(folder)
    notes = JSON.parse(await readFile(join(state, 'notes.json'), 'utf8')) as StateNotes
    world = await World.open(folder, notes.madeAtMs + HOUR_MS)
  })
  afterEach(async () => {
    await world.stopServer()
    await rm(folder, { recursive: true, force: true })
  })

  it('is as it was left', async () => {
    expect(await listState(state)).toEqual(await readListing(state))
  })

  it('has its golden files unchanged among those of today', async () => {
    // Golden files may move to another package; their names and bytes stay.
    const inPackage = (files: readonly StateFile[]) =>
      files.map(({ path, ...rest }) => ({ ...rest, path: path.replace(/^.*\/test\/golden\//, '') }))
    const today = inPackage(await listGolden())
    for (const file of inPackage(await readGoldenListing(state))) expect(today).toContainEqual(file)
  })

  it(
    'its home opens: keys, log, role documents, releases, transport keys, and what it signed',
    async () => {
      expect(await world.keyturn('doctor', '--offline')).toMatchObject({ errors: 0 })
      expect(await world.keyturn('release', 'verify')).toMatchObject({ outcome: 'accepted' })
      const status = (await world.keyturn('status')) as { items: readonly { kind: string; state: string }[] }
      const active = status.items.filter(({ state: held }) => held === 'active').map(({ kind }) => kind)
      expect(active).toEqual(
        expect.arrayContaining([
          'content',
          'identity',
          'release',
          'head',
          'transport',
          'roles',
          'manifest',
          'head-document',
        ]),
      )
      expect(await world.keyturn('verify', world.path('notes/signed.txt'))).toMatchObject({ valid: true })
    },
    TIMEOUT_MS,
  )

  it(
    'its server serves, and its installs come up to date, the one interrupted in an update too',
    async () => {
      await world.startServer()
      expect(await clientSays(world, 'install', notes.trust)).toBe('content key 2')
      for (const name of INSTALLS) {
        const engine = world.engine(name, notes.trust)
        expect(await engine.update()).toMatchObject({ outcome: 'updated', trust: 'current', writtenFiles: 1 })
        expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date', writtenFiles: 0 })
        expect(await clientSays(world, name, notes.trust)).toBe('content key 2')
        expect(await readFile(world.path(name, 'runtime-key.json'), 'utf8')).toContain('"key_id"')
      }
    },
    TIMEOUT_MS,
  )

  it(
    'goes on: the next release and each rotation of a key reach its installs',
    async () => {
      await world.startServer()
      const engine = world.engine('install', notes.trust)
      await world.source({ 'textures/new.tga': 'new' })
      await world.release('next')
      expect(await engine.update()).toMatchObject({ outcome: 'updated', trust: 'current' })
      await world.keyturnOnline('rotate', 'content')
      await world.keyturnOnline('rotate', 'identity', '--next-key-file', world.path('home/next-identity.keystore'))
      await world.keyturn('rotate', 'vault')
      expect(await engine.update()).toMatchObject({ outcome: 'updated', trust: 'current' })
      expect(await clientSays(world, 'install', notes.trust)).toBe('content key 3')
      // The home delivers the new key to the servers that got the old one. This one listens on another port now.
      const handOver = world.path('home/transport/hand-over.json')
      await writeFile(handOver, (await readFile(handOver, 'utf8')).replace(/http:[^"]+/, world.url))
      await world.keyturn('noise', 'rotate', '--now', '--to', world.url, '--token-file', world.path('notes/token'))
      expect(await world.keyturn('noise', 'lookup', '--from', world.url)).toMatchObject({
        keys: [{ verdict: 'ok' }, { verdict: 'retiring' }],
      })
      expect(await world.keyturnOnline('doctor')).toMatchObject({ errors: 0 })
    },
    TIMEOUT_MS,
  )
})
