import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { afterEach, beforeEach } from 'vitest'
import { command } from './command.ts'
import type { Answer } from './command.ts'
import { World } from './world.ts'

/** The studio of the test that runs. */
export let world: World

/** Gives each test of a file a studio: a home, a server that it knows, and a project with a small client. */
export function useStudio(): void {
  let folderBefore: string
  beforeEach(async () => {
    world = await World.create()
    folderBefore = process.cwd()
    await world.connect()
    await mkdir(world.path('game/client/data'), { recursive: true })
    await writeFile(world.path('game/client/data/a.txt'), 'first words')
    await writeFile(world.path('game/client/user.cfg'), 'volume=5')
    await edit('exit 0')
    await chmod(world.path('game/client/game.sh'), 0o755)
    await project({})
  })
  afterEach(async () => {
    process.chdir(folderBefore)
    await world.remove()
  })
}

/** The file of the project. */
export const file = (): string => world.path('game/keyturn.json')

/** Writes the project with other members. */
export async function project(change: object): Promise<void> {
  const base = { schema: 1, product: 'test', source: 'client', keep: ['user.cfg'], program: { linux: 'game.sh' } }
  await writeFile(file(), JSON.stringify({ ...base, ...change }))
}

/** A release differs from the one before it. */
export const edit = (line: string): Promise<void> =>
  writeFile(world.path('game/client/game.sh'), `#!/bin/sh\n${line}\n`)

export async function keyturn(...args: string[]): Promise<Answer> {
  return await command(world, args)
}

/** What ship answers; it has to succeed. */
export async function ship(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await keyturn('ship', '--project', file(), ...args)
  if (!answer.ok) throw new Error(JSON.stringify(answer.error))
  return answer.data
}

/** The code with which ship refuses. */
export async function refusal(...args: string[]): Promise<string> {
  const answer = await keyturn('ship', '--project', file(), ...args)
  return answer.ok ? 'shipped' : answer.error.code
}

interface Listed {
  readonly version: string
  readonly state: string
}

export async function listed(...flags: string[]): Promise<readonly Listed[]> {
  return (await keyturn('release', 'list', ...flags)).data['releases'] as Listed[]
}

/** What the home lists, by version. */
export async function states(): Promise<Record<string, unknown>> {
  return Object.fromEntries((await listed()).map(({ version, state }) => [version, state]))
}

/** What the manifest of a release says of its archive. */
export async function archiveHash(version: string): Promise<string | undefined> {
  const manifest = JSON.parse(await readFile(world.path('home/releases/stable', version, 'manifest.json'), 'utf8')) as {
    files: { path: string; sha256: string }[]
  }
  return manifest.files.find(({ path }) => path === 'pack/data.m2p')?.sha256
}

/** A launcher of a player on Linux. */
export async function player(): Promise<Engine> {
  const { data } = await keyturn('release', 'trust')
  return createEngine({
    folder: world.path('player'),
    server: `${world.url}/p/test/`,
    trust: String(data['pin']),
    target: 'linux',
  })
}
