import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { openArchiveFile } from '@keyturn/m2pack-format/node'
import { parseHead, parseHeadEnvelope, parseManifest } from '@keyturn/manifest'
import type { Head, ReleaseManifest } from '@keyturn/manifest'
import { readReleases } from '@keyturn/publisher/records'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

const HOUR_MS = 3_600_000
const START_MS = Math.floor(Date.now() / 1000) * 1000

let world: World
let nowMs: number
let warnings: string

beforeEach(async () => {
  nowMs = START_MS
  warnings = ''
  world = await World.create()
  await world.connect(() => nowMs)
})
afterEach(async () => {
  await world.remove()
})

async function keyturn(...args: string[]): Promise<Answer> {
  return await command(world, args, { nowMs, onStderr: (text) => void (warnings += text) })
}

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await keyturn(...args)
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

async function refusal(...args: string[]): Promise<string> {
  return (await keyturn(...args)).error.code
}

/** Packs and prepares a release of two archives; `extra` files are new ones, by their path in the source. */
async function prepared(version: string, extra: Record<string, string> = {}, ...flags: string[]): Promise<string> {
  await mkdir(world.path('source', 'data'), { recursive: true })
  await mkdir(world.path('source', 'sound'), { recursive: true })
  for (const top of ['data', 'sound'])
    for (let n = 0; n < 4; n += 1)
      await writeFile(world.path('source', top, `${n}.txt`), `${top} ${n} stays as it is\n`.repeat(2000))
  for (const [path, text] of Object.entries(extra)) await writeFile(world.path('source', path), text)
  const tree = world.path('trees', version)
  await succeed('pack', 'tree', '--input', world.path('source'), '--output', tree, '--level', '1', ...flags)
  await succeed('release', 'prepare', tree, '--release', version)
  return version
}

async function released(version: string, extra: Record<string, string> = {}, ...flags: string[]): Promise<string> {
  await prepared(version, extra, ...flags)
  await succeed('release', 'sign', version)
  await succeed('release', 'offer', version, '--percent', '100')
  await succeed('release', 'publish')
  return version
}

/** A release with a new file is scheduled for an hour from now, over one that players have. */
async function scheduled(): Promise<string> {
  await released('1.0')
  await prepared('1.1', { 'data/boss-of-the-winter.txt': 'nobody may read this before the time\n'.repeat(3000) })
  await succeed('release', 'schedule', '1.1', '--at', at(1))
  return '1.1'
}

const at = (hours: number): string => `${new Date(START_MS + hours * HOUR_MS).toISOString().slice(0, 19)}Z`

async function shown(): Promise<Head> {
  const bytes = await world.client?.fetchPublic('/p/test/channels/stable/head.json')
  if (bytes === undefined) throw new Error('no head')
  return parseHead(parseHeadEnvelope(bytes).payload)
}

async function shownManifest(version: string): Promise<ReleaseManifest> {
  const bytes = await world.client?.fetchPublic(`/p/test/channels/stable/manifests/${version}.json`)
  if (bytes === undefined) throw new Error('no manifest')
  return parseManifest(bytes)
}

async function isThere(sha256: string): Promise<boolean> {
  return (await fetch(`${world.url}/p/test/files/${sha256.slice(0, 2)}/${sha256}`)).ok
}

async function versionsBelow(tree: string): Promise<number[]> {
  return await Promise.all(
    ['data', 'sound'].map(async (name) => (await readFile(join(tree, 'pack', `${name}.m2p`))).readUInt32LE(8)),
  )
}

const keyFile = ({ files }: ReleaseManifest): string =>
  files.find(({ path }) => path === 'runtime-key.json')?.sha256 ?? ''

/** How many threads a command starts beside its own. */
async function threadsOf(...args: string[]): Promise<number> {
  let threads = 0
  const count = (): void => void (threads += 1)
  process.on('worker', count)
  try {
    await succeed(...args)
  } finally {
    process.off('worker', count)
  }
  return threads
}

describe('archives of format version 2', () => {
  it('stay so when a release is scheduled and when everything is encrypted again; a manifest says so', async () => {
    await released('1.0', {}, '--format-version', '2')
    expect(warnings).toContain('Launchers from before format version 2 refuse this release (MAN_CRITICAL)')
    expect(warnings).not.toContain('players download them whole')
    await prepared('1.1', { 'data/boss-of-the-winter.txt': 'nobody may read this before the time\n'.repeat(3000) })
    // Both archives share them: one set of threads opens and packs everything.
    const most = Math.min(64, availableParallelism()) - 1
    expect(await threadsOf('release', 'schedule', '1.1', '--at', at(1))).toBe(most)
    expect(await shownManifest('1.1')).toMatchObject({ archiveFormat: 2, critical: ['archive_format'] })
    const { tree } = (await readReleases((await world.home()).paths, 'stable')).find(
      ({ manifest }) => manifest.version === '1.1',
    )!
    expect(await versionsBelow(tree)).toEqual([2, 2])
    expect(await threadsOf('rotate', 'content', '--full')).toBe(most)
    const newest = (await readReleases((await world.home()).paths, 'stable')).at(-1)!
    expect(newest.manifest).toMatchObject({ archiveFormat: 2, critical: ['archive_format'] })
    expect(await versionsBelow(newest.tree)).toEqual([2, 2])
  })

  it('and going back to version 1 takes the word out of the manifest, with a warning', async () => {
    await released('1.0', {}, '--format-version', '2')
    await released('1.1', {}, '--format-version', '1')
    expect(warnings).toContain('Archives are of format version 1 now: players download them whole, once')
    const manifest = await shownManifest('1.1')
    expect(manifest.archiveFormat).toBeUndefined()
    expect(manifest.critical).toEqual([])
  })
})

describe('release schedule', () => {
  it('shows launchers a sealed release that nobody has the key of, and offers everybody the one before', async () => {
    await scheduled()
    const head = await shown()
    expect(head.manifest.version).toBe('1.0')
    expect(head.preload).toMatchObject({ version: '1.1', at: at(1) })
    const [before, after] = [await shownManifest('1.0'), await shownManifest('1.1')]
    const keyId = after.contentKeys.find(({ status }) => status === 'active')?.keyId ?? 0
    expect(before.contentKeys.map((key) => key.keyId)).not.toContain(keyId)
    expect(after.files.filter((file) => file.keyId !== undefined).every((file) => file.keyId === keyId)).toBe(true)
    expect(await isThere(keyFile(before))).toBe(true)
    expect(await isThere(keyFile(after))).toBe(false)
    // Nothing that the server gives out says what is new.
    for (const file of after.files.filter(({ path }) => path.endsWith('.m2p'))) {
      const response = await fetch(`${world.url}/p/test/files/${file.sha256.slice(0, 2)}/${file.sha256}`)
      const bytes = Buffer.from(await response.arrayBuffer())
      expect(bytes.length).toBe(file.size)
      expect(bytes.includes('boss')).toBe(false)
      expect(bytes.includes('nobody may read')).toBe(false)
    }
    expect((await succeed('release', 'list'))['releases']).toMatchObject([
      { version: '1.0', state: 'offered' },
      { version: '1.1', state: `scheduled for ${at(1)}` },
    ])
    expect((await succeed('release', 'list', '--remote'))['releases']).toMatchObject([
      { version: '1.0', state: 'offered' },
      { version: '1.1', state: `scheduled for ${at(1)}` },
    ])
    expect(await succeed('release', 'schedule', '--list')).toMatchObject({
      scheduled: [{ version: '1.1', at: at(1), halted: false, key_here: true }],
    })
  })

  it('keeps unchanged files under the slots and bytes that players have', async () => {
    await scheduled()
    const home = await world.home()
    const keys = await home.keys()
    const sealed = home.description.sealedKeys?.[0]
    if (sealed === undefined) throw new Error('nothing is sealed')
    const file = join(home.paths.trees, 'stable', '.sealed-1.1', 'pack', 'data.m2p')
    const { archive, close } = await keys.lend(`content/${sealed.keyId}`, (key) =>
      openArchiveFile(file, {
        verifiers: new Map([[sealed.keyId, Buffer.from(sealed.verifierPub, 'hex')]]),
        contentKey: { keyId: sealed.keyId, key },
      }),
    )
    expect(archive.entries.map(({ path, slot }) => [path, slot === sealed.slot])).toEqual([
      ['0.txt', false],
      ['1.txt', false],
      ['2.txt', false],
      ['3.txt', false],
      ['boss-of-the-winter.txt', true],
    ])
    await close()
    await keys.close()
    // The home that sealed it lists it before its hour; nobody else can.
    const listed = (await succeed('pack', 'list', '--archive', file))['entries'] as readonly { path: string }[]
    expect(listed.map(({ path }) => path)).toContain('boss-of-the-winter.txt')
  })

  it('is renewed as it is before its time, and opens with the first renewal after it', async () => {
    await scheduled()
    nowMs += HOUR_MS - 1000
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.0', scheduled: '1.1' }] })
    expect(await isThere(keyFile(await shownManifest('1.1')))).toBe(false)
    nowMs += 1000
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.1', schedule: 'switch' }] })
    const head = await shown()
    expect(head.manifest.version).toBe('1.1')
    expect(head.preload).toBeUndefined()
    expect(await isThere(keyFile(await shownManifest('1.1')))).toBe(true)
    const { description } = await world.home()
    expect(description.sealedKeys).toEqual([])
    expect(description.contentKeys.map(({ status }) => status)).toEqual(['retired', 'active'])
    // What follows is packed under the new key, with the next sequence.
    await released('1.2', { 'data/more.txt': 'more\n' })
    expect((await shownManifest('1.2')).sequence).toBe(head.manifest.sequence + 1)
  })

  it('can be moved, and then keeps its bytes', async () => {
    await scheduled()
    const before = await shown()
    expect(await succeed('release', 'schedule', '1.1', '--at', at(5))).toMatchObject({ moved: true, at: at(5) })
    const after = await shown()
    expect(after.preload).toEqual({ ...before.preload, at: at(5) })
    nowMs += 2 * HOUR_MS
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.0' }] })
    nowMs += 3 * HOUR_MS
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.1' }] })
  })

  it('can be cancelled and scheduled again; its key is never used for anything else (row 345)', async () => {
    await scheduled()
    const { preload } = await shown()
    expect(await succeed('release', 'schedule', '--cancel')).toMatchObject({ version: '1.1', cancelled: true })
    expect((await shown()).preload).toBeUndefined()
    nowMs += 2 * HOUR_MS
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.0' }] })
    expect(await refusal('release', 'offer', '1.1')).toBe('REL_SCHEDULED')
    expect(await refusal('release', 'promote', '--to', 'beta', '1.1')).toBe('REL_SCHEDULED')
    expect(await refusal('release', 'schedule', '--cancel')).toBe('REL_NO_SCHEDULE')
    await succeed('rotate', 'content')
    const { description } = await world.home()
    const sealed = description.sealedKeys?.[0]
    expect(description.contentKeys.some(({ keyId }) => keyId === sealed?.keyId)).toBe(false)
    expect(description.slots).not.toContain(sealed?.slot)
    await succeed('release', 'schedule', '1.1', '--at', at(9))
    expect((await shown()).preload).toEqual({ ...preload, at: at(9) })
  })

  it('stays through a hotfix, which does not carry its key, and through a rotation of every other key (row 345)', async () => {
    await scheduled()
    await released('1.0.1', { 'data/0.txt': 'a hotfix\n' })
    const head = await shown()
    expect(head.manifest.version).toBe('1.0.1')
    expect(head.preload?.version).toBe('1.1')
    expect((await shownManifest('1.0.1')).sequence).toBe(2)
    await succeed('rotate', 'content')
    await succeed('rotate', 'release')
    await succeed('rotate', 'head')
    expect((await shown()).preload?.version).toBe('1.1')
    nowMs += HOUR_MS
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.1' }] })
    // The key that the rotation made is the newer one, and stays in force.
    const { description } = await world.home()
    expect(description.contentKeys.map(({ keyId, status }) => [keyId, status])).toEqual([
      [1, 'retired'],
      [2, 'retired'],
      [3, 'active'],
    ])
    await released('1.2', { 'data/0.txt': 'the hotfix again\n' })
  })

  it('waits while the channel is halted, and says so (row 345)', async () => {
    await scheduled()
    await released('1.0.1', { 'data/0.txt': 'a bad one\n' })
    await succeed('release', 'halt')
    nowMs += 2 * HOUR_MS
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ paused: true, schedule: 'halted' }] })
    expect(warnings).toContain('the channel is halted')
    expect(await refusal('release', 'schedule', '--now')).toBe('REL_HALTED')
    expect(await isThere(keyFile(await shownManifest('1.1')))).toBe(false)
    await succeed('release', 'rollout', '--resume')
    expect(await succeed('release', 'renew')).toMatchObject({ renewed: [{ version: '1.1', schedule: 'switch' }] })
  })

  it('opens at once with --now', async () => {
    await scheduled()
    expect(await succeed('release', 'schedule', '1.1', '--now')).toMatchObject({ opened: true, version: '1.1' })
    const head = await shown()
    expect(head.manifest.version).toBe('1.1')
    expect(await isThere(keyFile(await shownManifest('1.1')))).toBe(true)
    expect(await refusal('release', 'schedule', '--now')).toBe('REL_NO_SCHEDULE')
  })

  it('can be rolled back once it is out', async () => {
    await scheduled()
    await succeed('release', 'schedule', '--now')
    await succeed('release', 'rollback', '1.0')
    const head = await shown()
    const back = await shownManifest(head.manifest.version)
    expect(back.rollbackOf).toBe('1.0')
    // The key of the release that is undone wraps what everybody may read: an older key never comes back.
    expect(back.files.every(({ keyId }) => keyId === undefined || keyId === 2)).toBe(true)
  })

  it('leaves the key of a release without a key file in the home, and no server takes it early (row 346)', async () => {
    await world.stopServer()
    await world.connect(() => nowMs, true)
    await released('1.0')
    await prepared('1.1', { 'data/new.txt': 'new\n' }, '--no-runtime-key-file')
    await succeed('release', 'schedule', '1.1', '--at', at(1))
    const { contentKeys } = await shownManifest('1.1')
    const keyId = contentKeys.find(({ status }) => status === 'active')?.keyId ?? 0
    // A publisher who sends it by mistake.
    const blob = new Uint8Array(84)
    blob.set(new TextEncoder().encode('M2KEYS1'))
    blob.set([1, 0, 0, 0, 0, 0, 0, 0, keyId], 8)
    blob.fill(7, 20, 52)
    blob.set(Buffer.from(contentKeys[0]?.verifierPub ?? '', 'hex'), 52)
    const put = async (): Promise<unknown> => await world.client?.putRuntimeKey('test', keyId, blob.slice())
    await expect(put()).rejects.toMatchObject({ code: 'SRV_NOT_YET' })
    nowMs += HOUR_MS
    await succeed('release', 'renew')
    expect((await shown()).manifest.version).toBe('1.1')
  })

  it('says when the server could not take the key of a release that opens', async () => {
    await released('1.0')
    await prepared('1.1', { 'data/new.txt': 'new\n' }, '--no-runtime-key-file')
    await succeed('release', 'schedule', '1.1', '--at', at(1))
    nowMs += HOUR_MS
    expect(await refusal('release', 'renew')).toBe('REL_KEY_NOT_TAKEN')
    expect((await shown()).manifest.version).toBe('1.0')
  })

  it('refuses a release that has nothing to seal', async () => {
    await mkdir(world.path('plain'), { recursive: true })
    for (const version of ['1.0', '1.1']) {
      await writeFile(world.path('plain', 'game.txt'), version)
      await succeed('release', 'prepare', world.path('plain'), '--release', version)
      if (version === '1.1') break
      await succeed('release', 'sign', version)
      await succeed('release', 'offer', version)
      await succeed('release', 'publish')
    }
    expect(await refusal('release', 'schedule', '1.1', '--at', at(1))).toBe('REL_NOT_SEALABLE')
  })

  it('refuses before anything is made', async () => {
    await prepared('1.0')
    expect(await refusal('release', 'schedule', '1.0', '--at', at(1))).toBe('REL_NO_OFFER')
    await succeed('release', 'sign', '1.0')
    await succeed('release', 'offer', '1.0')
    await succeed('release', 'publish')
    expect(await refusal('release', 'schedule', '1.0', '--at', at(1))).toBe('REL_OFFERED')
    await prepared('1.1', { 'data/new.txt': 'new\n', 'readme.txt': 'anyone can read this\n' })
    const before = await readFile(world.path('home', 'home.json'), 'utf8')
    for (const time of [at(-1), at(0), at(24 * 91)])
      expect(await refusal('release', 'schedule', '1.1', '--at', time)).toBe('REL_SCHEDULE_TIME')
    for (const time of ['2026-12-04', '18:00', '2099-02-30T18:00Z', '2099-02-20T18:00', 'soon'])
      expect(await refusal('release', 'schedule', '1.1', '--at', time)).toBe('CLI_USAGE')
    expect(await refusal('release', 'schedule', '1.1')).toBe('CLI_USAGE')
    expect(await refusal('release', 'schedule', '1.1', '--now', '--cancel')).toBe('CLI_USAGE')
    expect(await refusal('release', 'schedule', '--at', at(1))).toBe('CLI_USAGE')
    expect(await refusal('release', 'schedule', '1.1', '--now')).toBe('REL_NO_SCHEDULE')
    const readable = await keyturn('release', 'schedule', '1.1', '--at', at(1))
    expect(readable.error).toMatchObject({ code: 'REL_READABLE' })
    expect(readable.error.message).toContain('"readme.txt"')
    expect(await readFile(world.path('home', 'home.json'), 'utf8')).toBe(before)
    expect((await succeed('release', 'list'))['releases']).toMatchObject([
      { version: '1.0' },
      { version: '1.1', state: 'draft' },
    ])
    await succeed('release', 'schedule', '1.1', '--at', at(1), '--allow-readable')
    await prepared('1.2', { 'data/other.txt': 'other\n' })
    expect(await refusal('release', 'schedule', '1.2', '--at', at(2))).toBe('REL_SCHEDULED')
    expect(await refusal('release', 'discard', '1.1')).toBe('REL_OFFERED')
  })
})
