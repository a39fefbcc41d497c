/** Records the state that the current version leaves on disk, once per released version: `node make-state.ts 0.1.0`. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLockFile } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { listState, writeListings } from './state.ts'
import type { StateNotes } from './state.ts'
import { World } from './world.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.parse('2026-11-21T00:00:00Z')

async function firstRelease(world: World): Promise<string> {
  await world.keyturn('init', '--product', world.product)
  await world.source({
    'textures/a.tga': randomBytes(3000),
    'textures/b.tga': randomBytes(500),
    'textures/empty.tga': '',
    'sounds/čeština.txt': 'a sound\n'.repeat(400),
    'client.sh': '#!/bin/sh\necho "content key $M2PACK_KEY_ID"\n',
  })
  await chmod(world.path('source/client.sh'), 0o755)
  await world.release('1')
  await world.keyturn('noise', 'publish', '--to', world.url, '--token-file', world.path('notes/token'), '--hand-over')
  return String((await world.keyturn('release', 'trust'))['pin'])
}

/** Stops an update after its commit point: the journal says what is left to do. */
async function interrupt(world: World, trust: string): Promise<void> {
  let committed = false
  const fs = faultFileSystem({
    plan: { at: 1, mode: 'crash' },
    counts: ({ name, path }) => {
      if (name === 'rename' && path.includes('txn.json')) committed = true
      return committed && name === 'rename' && path.includes('/staging/')
    },
  })
  const outcome = await world
    .engine('interrupted', trust, fs)
    .update()
    .then(
      () => 'done',
      () => 'killed',
    )
  if (outcome !== 'killed') throw new Error('The update was not interrupted')
  await stat(world.path('interrupted/.updates/txn.json'))
  // It names a process of this machine. A lock whose holder has died has tests of its own.
  const updates = world.path('interrupted/.updates')
  for (const name of (await readdir(updates)).filter((entry) => isLockFile(entry))) await rm(join(updates, name))
}

async function live(world: World): Promise<Omit<StateNotes, 'madeAtMs'>> {
  const trust = await firstRelease(world)
  for (const name of ['install', 'interrupted']) await world.engine(name, trust).update()
  world.pass(DAY_MS)
  await world.keyturnOnline('rotate', 'content')
  await world.engine('install', trust).update()
  await interrupt(world, trust)
  world.pass(DAY_MS)
  await world.keyturnOnline('rotate', 'identity', '--next-key-file', world.path('home/next-identity.keystore'))
  await world.keyturn('rotate', 'vault')
  await writeFile(world.path('notes/signed.txt'), 'a file that was signed\n')
  await world.keyturn('sign', world.path('notes/signed.txt'))
  await world.source({ 'textures/a.tga': randomBytes(3100) })
  await world.release('2')
  return { product: world.product, trust }
}

const version = process.argv[2]
if (version === undefined || !/^\d+\.\d+\.\d+$/.test(version))
  throw new Error('Name the version: node make-state.ts 0.1.0')
const target = join(import.meta.dirname, 'states', version)
if (existsSync(target)) throw new Error(`A state of version ${version} was recorded already; states never change`)
const folder = await mkdtemp(join(tmpdir(), 'keyturn-state-'))
try {
  const world = await World.open(folder, NOW_MS)
  await world.startServer()
  const notes = await live(world)
  await world.stopServer()
  await mkdir(target, { recursive: true })
  for (const part of ['home', 'server', 'install', 'interrupted', 'notes', 'source'])
    await cp(world.path(part), join(target, part), { recursive: true })
  await rm(join(target, 'notes/token'))
  await writeFile(join(target, 'notes.json'), `${JSON.stringify({ madeAtMs: world.clock(), ...notes }, null, 2)}\n`)
  await writeListings(target)
  const listing = await listState(target)
  console.log(`${listing.length} files, ${listing.reduce((sum, { size }) => sum + size, 0)} bytes in ${target}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
