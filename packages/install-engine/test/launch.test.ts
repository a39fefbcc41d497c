import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Fetch } from '../src/index.ts'
import { engineFor, offline, treeFetch } from './support/install.ts'
import { contentKey, DAY, NOW, Publisher } from './support/publisher.ts'

const client = `
import { readFileSync, writeFileSync } from 'node:fs'
writeFileSync(process.argv[2], JSON.stringify({ key: process.env.M2PACK_MASTER_KEY_HEX ?? null, id: process.env.M2PACK_KEY_ID ?? null }))
process.exit(Number(process.argv[3] ?? 0))
`

describe('launch()', () => {
  async function game() {
    const publisher = await Publisher.create()
    const key = contentKey(4)
    const files = { 'client.mjs': client, 'runtime-key.json': key.json }
    await publisher.release(files, { format: 'm2pack', place: { contentKeys: [key.entry] } })
    return { publisher, key, files }
  }

  it('starts the client with its key, and only the client has it', async () => {
    const { publisher, key } = await game()
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    const out = join(folder, '.updates/out.json')
    const {
      exited,
      confirmed,
      offline: isOffline,
      version,
    } = await engine.launch({ args: [out], stdio: ['ignore', 'ignore', 'ignore'] })
    expect([await exited, await confirmed, isOffline, version]).toEqual([0, true, false, '2026.11.21-1'])
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual({ key: key.hex, id: '4' })
    expect(process.env['M2PACK_MASTER_KEY_HEX']).toBeUndefined()
    expect(await readFile(join(folder, '.updates/launcher.log'), 'utf8')).not.toContain(key.hex)
    expect(await engine.status()).toMatchObject({ confirmed: true })
  })

  it('hands none of the variables of Keyturn on to the client, with a key or without', async () => {
    const script =
      "import { writeFileSync } from 'node:fs'\nwriteFileSync(process.argv[2], JSON.stringify(Object.keys(process.env)))"
    const key = contentKey(4)
    for (const format of ['legacy-json-blob', 'm2pack']) {
      const publisher = await Publisher.create()
      await publisher.release(
        { 'client.mjs': script, ...(format === 'm2pack' && { 'runtime-key.json': key.json }) },
        { format, ...(format === 'm2pack' && { place: { contentKeys: [key.entry] } }) },
      )
      const env = {
        ...process.env,
        KEYTURN_PASSPHRASE_FILE: '/p',
        KEYTURN_TOKEN_FILE: '/t',
        KEYTURN_HOME: '/h',
        Keyturn_Config: '/c',
        GAME_LANGUAGE: 'cs',
      }
      const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'], env })
      const out = join(folder, '.updates/out.json')
      expect(await (await engine.launch({ args: [out], stdio: ['ignore', 'ignore', 'ignore'] })).exited).toBe(0)
      const names = JSON.parse(await readFile(out, 'utf8')) as string[]
      expect(names.filter((name) => /^keyturn_/i.test(name))).toEqual([])
      expect(names).toContain('GAME_LANGUAGE')
    }
  })

  it('starts soon when nobody answers: two tries, while an update has five (row 188)', async () => {
    const { publisher } = await game()
    let attempts = 0
    const counted: Fetch = async (url, init) => {
      attempts += 1
      return await offline(url, init)
    }
    const retry = { tries: 5, firstPauseMs: 1, longestPauseMs: 2 }
    const { engine: fresh } = await engineFor(publisher, { program: ['client.mjs'], fetch: counted, retry })
    await expect(fresh.launch()).rejects.toMatchObject({ code: 'LA_NETWORK' }) // nothing to play: worth every try
    expect(attempts).toBe(5)
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    const away = await engineFor(publisher, { folder, program: ['client.mjs'], fetch: counted, retry })
    attempts = 0
    const started = await away.engine.launch({
      args: [join(folder, '.updates/out.json')],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect([attempts, started.offline, await started.exited]).toEqual([2, true, 0])
    attempts = 0
    await expect(away.engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    expect(attempts).toBe(5)
  })

  it('has every patience with a server that answered once', async () => {
    const { publisher } = await game()
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    await publisher.release(
      { 'client.mjs': client, 'b.txt': 'new', 'runtime-key.json': contentKey(4).json },
      { format: 'm2pack', place: { contentKeys: [contentKey(4).entry] } },
    )
    let refused = 0
    const flaky: Fetch = async (url, init) =>
      url.endsWith('head.json') && refused++ < 4 ? offline(url, init) : treeFetch(publisher.tree)(url, init)
    const { engine: later } = await engineFor(publisher, {
      folder,
      program: ['client.mjs'],
      fetch: flaky,
      retry: { tries: 5, firstPauseMs: 1, longestPauseMs: 2 },
    })
    const { exited, version } = await later.launch({
      args: [join(folder, '.updates/out.json')],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect([await exited, version]).toEqual([0, '2026.11.21-2'])
  })

  it('starts what is installed when the server is down, and long after everything expired (row 188)', async () => {
    const { publisher, key } = await game()
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    const away = await engineFor(publisher, {
      folder,
      program: ['client.mjs'],
      fetch: offline,
      clock: () => NOW + 900 * DAY,
    })
    const out = join(folder, '.updates/out.json')
    const started = await away.engine.launch({ args: [out], stdio: ['ignore', 'ignore', 'ignore'] })
    expect(started.offline).toBe(true)
    expect(await started.exited).toBe(0)
    expect(JSON.parse(await readFile(out, 'utf8'))).toMatchObject({ key: key.hex })
    expect(await away.engine.status()).toMatchObject({ trust: 'stale' })
  })

  it('repairs a changed file before the start, and does not start it without a server', async () => {
    const { publisher } = await game()
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    await writeFile(join(folder, 'client.mjs'), 'process.exit(77)')
    const away = await engineFor(publisher, { folder, program: ['client.mjs'], fetch: offline })
    await expect(away.engine.launch()).rejects.toMatchObject({ code: 'LA_HASH' })
    const { exited } = await engine.launch({
      update: false,
      args: [join(folder, '.updates/out.json')],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect(await exited).toBe(0)
  })

  it('refuses a key that the manifest does not list, and a foreign program', async () => {
    const { publisher, files } = await game()
    const other = contentKey(5)
    await publisher.release(
      { ...files, 'runtime-key.json': other.json },
      { format: 'm2pack', place: { contentKeys: [contentKey(4).entry] } },
    )
    const { engine } = await engineFor(publisher, { program: ['client.mjs'] })
    await expect(engine.launch()).rejects.toMatchObject({ code: 'RK_KEY_ID_MISMATCH' })
    const foreign = await engineFor(publisher, { program: ['other.mjs'] })
    await expect(foreign.engine.launch()).rejects.toMatchObject({ code: 'LA_PROGRAM' })
  })

  it('goes back by itself after two starts that did not live', async () => {
    const { publisher, files } = await game()
    const { engine, folder, events } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    await publisher.release(
      { ...files, 'client.mjs': 'process.exit(3)' },
      { format: 'm2pack', place: { contentKeys: [contentKey(4).entry] } },
    )
    for (const _ of [1, 2]) {
      const { exited, confirmed } = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
      expect([await exited, await confirmed]).toEqual([3, false])
    }
    const { exited, version } = await engine.launch({
      args: [join(folder, '.updates/out.json')],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect([await exited, version]).toEqual([0, '2026.11.21-1'])
    expect(await engine.update()).toMatchObject({ outcome: 'stay' })
    const said = events.filter((event) => event.type === 'notice' && event.code === 'LA_RELEASE_FAILED')
    expect(said, 'once when it went back, once when it is offered again').toHaveLength(2)
  })

  it('does not put an update in place under a running client, nor start it twice (row 214)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': 'setTimeout(() => {}, 20_000)' })
    const { engine } = await engineFor(publisher, { program: ['client.mjs'] })
    const { child, exited } = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    await publisher.release({ 'client.mjs': 'process.exit(0)' })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_LOCKED' })
    await expect(engine.launch()).rejects.toMatchObject({ code: 'LA_LOCKED' })
    child.kill('SIGKILL')
    await exited
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
  })
})
