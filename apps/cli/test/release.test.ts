import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { initialTrustState, parseManifest, parseTrustRoot, pinnedKeysRoot, verifyRelease } from '@keyturn/manifest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

const keyturn = (...args: string[]): Promise<Answer> => command(world, args)

async function tree(name: string, files: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(world.path(name, ...path.split('/').slice(0, -1)), { recursive: true })
    await writeFile(world.path(name, ...path.split('/')), text)
  }
  return world.path(name)
}

async function made(version: string, channel = 'stable'): Promise<Uint8Array> {
  return await readFile(world.path('home', 'releases', channel, version, 'manifest.json'))
}

/** Prepares, signs and offers a tree. */
async function offered(folder: string, ...flags: string[]): Promise<string> {
  const { data } = await keyturn('release', 'prepare', folder, ...flags)
  await keyturn('release', 'sign')
  await keyturn('release', 'head')
  return String(data['version'])
}

describe('keyturn release prepare', () => {
  it('leaves out what the original leaves out', async () => {
    const folder = await tree('tree', {
      'Metin2.exe': 'exe',
      'pack/a.pck': 'old',
      'pack/b.pck': 'kept',
      'pack/a.m2p.txt': 'x',
      'docs/readme.txt': 'x',
      'log/x.txt': 'x',
      'a.md': 'x',
      'run.log': 'x',
      'lib.pdb': 'x',
      'x.old': 'x',
      'config.exe': 'x',
      '.prev1': 'x',
      '.offsingle': 'x',
      'bgm/song.mp3': 'x',
      'sub/docs/kept.txt': 'x',
    })
    const { data } = await keyturn('release', 'prepare', folder, '--drop-original', '--exclude', 'bgm/**')
    const { files } = parseManifest(await made(String(data['version'])))
    expect(files.map(({ path }) => path)).toEqual([
      'Metin2.exe',
      'pack/a.m2p.txt',
      'pack/a.pck',
      'pack/b.pck',
      'sub/docs/kept.txt',
    ])
  })

  it('refuses all paths that a system cannot hold at once, and warns of what changed in spelling only', async () => {
    await tree('first', { 'Data/a.txt': 'a', 'b.txt': 'b' })
    expect(await command(world, ['release', 'prepare', world.path('first')])).toMatchObject({ code: 0 })
    await tree('bad', { 'con.txt': 'x', 'a.': 'x', 'ok.txt': 'x' })
    for (const args of [
      ['release', 'prepare', world.path('bad')],
      ['pack', 'tree', '--input', world.path('bad'), '--output', world.path('packed')],
    ]) {
      const { error, code } = await command(world, args)
      expect([code, error.code]).toEqual([4, 'MAN_PATH'])
      expect(error.message).toContain(`Cannot use 2 paths of "${world.path('bad')}"`)
    }
    await expect(readdir(world.path('packed'))).rejects.toMatchObject({ code: 'ENOENT' })
    await tree('second', { 'data/a.txt': 'a', 'b.txt': 'b' })
    let printed = ''
    const onStderr = (text: string): void => void (printed += text)
    expect(await command(world, ['release', 'prepare', world.path('second')], { onStderr })).toMatchObject({ code: 0 })
    expect(printed).toContain('"Data/a.txt" to "data/a.txt"')
  })

  it('refuses links, empty trees, odd versions and unknown launchers', async () => {
    const folder = await tree('tree', { 'a.txt': 'a' })
    expect((await keyturn('release', 'prepare', folder, '--release', 'final cut')).error.code).toBe('MAN_VERSION')
    expect((await keyturn('release', 'prepare', folder, '--launcher', 'x.exe')).error.code).toBe('CLI_PATH_UNKNOWN')
    expect((await keyturn('release', 'prepare', folder, '--exclude', '*')).error.code).toBe('BUILD_EMPTY')
    await symlink('/etc', world.path('tree', 'etc'))
    expect(await keyturn('release', 'prepare', folder)).toMatchObject({
      code: 4,
      error: { code: 'BUILD_SPECIAL_FILE' },
    })
  })

  it('makes a release that the original launcher and one with an identity both take', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
    await writeFile(world.path('old.key'), `${seed.toString('hex')}\n`, { mode: 0o600 })
    const folder = await tree('tree', { 'Launcher.exe': 'launcher', 'game.bin': 'game' })
    const { data } = await keyturn('release', 'prepare', folder, '--launcher', 'Launcher.exe', '--move-to-identity')
    const version = String(data['version'])
    await keyturn('release', 'sign', '--legacy-key-file', world.path('old.key'))
    const manifest = await made(version)
    const legacySignature = await readFile(world.path('home', 'releases', 'stable', version, 'manifest.json.sig'))
    expect(verify(null, manifest, publicKey, legacySignature)).toBe(true)
    expect(sign(null, manifest, privateKey)).toEqual(legacySignature)
    const pinned = initialTrustState(
      pinnedKeysRoot([{ key: publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex') }]),
    )
    const decision = verifyRelease({ manifest, legacySignature }, pinned, { channel: 'stable', nowMs: Date.now() })
    const { data: trust } = await keyturn('release', 'trust', '--first')
    expect(decision).toMatchObject({
      outcome: 'accepted',
      manifest: { launcher: { path: 'Launcher.exe' }, files: [{ path: 'game.bin' }] },
    })
    expect(decision.state.root).toEqual(parseTrustRoot(String(trust['pin'])))
  })
})

describe('a big file beside the archives', () => {
  it('costs players what changed in it, not all of it (row 401)', async () => {
    await world.startServer()
    world.useToken(world.token)
    const size = 4_000_000
    const bytes = createHash('shake256', { outputLength: size }).update('big').digest()
    const publish = async (folder: string): Promise<void> => {
      await offered(folder)
      expect(await keyturn('release', 'publish', '--server', world.url)).toMatchObject({ code: 0 })
    }
    await tree('first', { 'readme.txt': 'one' })
    await writeFile(world.path('first', 'movie.bin'), bytes)
    await publish(world.path('first'))
    const engine = await world.engine()
    expect((await engine.update()).downloadedBytes).toBeGreaterThanOrEqual(size)
    bytes[2_000_000] = (bytes[2_000_000] ?? 0) ^ 1
    await tree('second', { 'readme.txt': 'one' })
    await writeFile(world.path('second', 'movie.bin'), bytes)
    await publish(world.path('second'))
    const { outcome, downloadedBytes } = await engine.update()
    expect(outcome).toBe('updated')
    expect(downloadedBytes).toBeLessThan(size / 8)
    expect(bytes.equals(await readFile(world.path('game', 'movie.bin')))).toBe(true)
  })
})

describe('keyturn release on a server', () => {
  it('publishes, rolls out, halts, rolls back and promotes; verify-public agrees each time', async () => {
    await world.startServer()
    world.useToken(world.token)
    const server = ['--server', world.url]
    const first = await offered(await tree('one', { 'a.txt': 'one', 'b.txt': 'same' }))
    expect(await keyturn('release', 'publish', ...server)).toMatchObject({
      ok: true,
      data: { version: first, blobs: 2 },
    })
    const { data: prepared } = await keyturn(
      'release',
      'prepare',
      await tree('two', { 'a.txt': 'two', 'b.txt': 'same' }),
    )
    const second = String(prepared['version'])
    await keyturn('release', 'sign')
    expect((await keyturn('release', 'diff', first, '--fail-on-diff')).data).toMatchObject({
      changed: ['a.txt'],
      unchanged: 1,
      download_bytes: 3,
    })
    await keyturn('release', 'head', '--percent', '10')
    expect(await keyturn('release', 'publish', ...server)).toMatchObject({
      ok: true,
      data: { version: second, blobs: 1, present: 1 },
    })
    expect(await keyturn('release', 'rollout', '--percent', '100', ...server)).toMatchObject({
      ok: true,
      data: { percent: 100, published: true },
    })
    expect(await keyturn('release', 'verify-public', '--blobs', 'all', ...server)).toMatchObject({
      code: 0,
      data: { version: second, blobs_bad: [] },
    })
    expect(await keyturn('release', 'halt', '--withdraw', ...server)).toMatchObject({
      ok: true,
      data: { fallback: first, withdrawn: true },
    })
    const back = await keyturn('release', 'rollback', first, ...server)
    expect(back).toMatchObject({ ok: true, data: { from: first, sequence: 3, published: true } })
    const publicly = await keyturn('release', 'verify-public', '--blobs', 'all', ...server)
    expect(publicly).toMatchObject({ code: 0, data: { version: back.data['version'], blobs_checked: 2 } })
    expect(parseManifest(await made(String(back.data['version']))).rollbackOf).toBe(first)
    expect(await keyturn('release', 'promote', first, '--to', 'beta', ...server)).toMatchObject({
      ok: true,
      data: { channel: 'beta', sequence: 1 },
    })
    expect(await keyturn('release', 'list', '--remote', ...server)).toMatchObject({
      ok: true,
      data: { offered: back.data['version'] },
    })
    expect((await keyturn('release', 'verify')).data).toMatchObject({ outcome: 'accepted' })
    expect((await keyturn('release', 'verify', first, '--history')).data).toMatchObject({ roles_version: 1 })
    expect(await keyturn('release', 'gc', ...server)).toMatchObject({ ok: true, data: { dry_run: true } })
  }, 600_000)
})

describe('keyturn release export-static', () => {
  it('writes a tree that verifies by itself, the head last', async () => {
    const version = await offered(await tree('one', { 'a.txt': 'one' }))
    expect((await keyturn('release', 'export-static', world.path('public'))).data).toMatchObject({ version, blobs: 1 })
    expect((await readdir(world.path('public'))).toSorted()).toEqual([
      'channels',
      'files',
      'head.json',
      'kel',
      'manifest.json',
      'manifest.sigs.json',
      'manifests',
      'roles',
    ])
    const read = (name: string): Promise<Uint8Array> => readFile(world.path('public', ...name.split('/')))
    const { data } = await keyturn('release', 'trust')
    const decision = verifyRelease(
      {
        logs: [await read(`kel/${String(data['prefix'])}.cesr`)],
        roles: await read('roles/1.json'),
        head: await read('head.json'),
        manifest: await read('manifest.json'),
        signatures: await read('manifest.sigs.json'),
      },
      initialTrustState(parseTrustRoot(String(data['pin']))),
      { channel: 'stable', nowMs: Date.now() },
    )
    expect(decision.outcome).toBe('accepted')
    expect((await keyturn('release', 'export-static', world.path('public'))).data).toMatchObject({ blobs: 0 })
  })
})

describe('keyturn release verify-public', () => {
  it('reads no more of a blob than the manifest says, and calls a longer one wrong', async () => {
    await offered(await tree('one', { 'a.txt': 'one', 'b.txt': 'two' }))
    await keyturn('release', 'export-static', world.path('public'))
    const served = { sent: 0, pad: false }
    const host = createServer((request, response) => {
      const file = world.path('public', ...(request.url ?? '').split('/'))
      if (!existsSync(file)) return void response.writeHead(404).end()
      const bytes = readFileSync(file)
      if (!served.pad || !request.url?.startsWith('/files/')) return void response.end(bytes)
      response.write(bytes)
      // Without end, until the reader goes away.
      const more = (): void => {
        served.sent += 65_536
        if (response.writable && !response.destroyed) response.write(Buffer.alloc(65_536), more)
      }
      more()
    })
    await new Promise<void>((resolve) => {
      host.listen(0, '127.0.0.1', resolve)
    })
    try {
      const server = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
      expect(await keyturn('release', 'verify-public', '--server', server, '--blobs', 'all')).toMatchObject({
        code: 0,
        data: { blobs_checked: 2, blobs_bad: [] },
      })
      served.pad = true
      expect(await keyturn('release', 'verify-public', '--server', server, '--blobs', 'all')).toMatchObject({
        code: 1,
        data: { blobs_bad: ['a.txt', 'b.txt'] },
      })
      expect(served.sent).toBeLessThan(64 * 1024 * 1024)
    } finally {
      host.closeAllConnections()
      await new Promise((resolve) => {
        host.close(resolve)
      })
    }
  })
})

describe('keyturn roles', () => {
  it('proposes and seals: the stolen key leaves, the release is signed again', async () => {
    const version = await offered(await tree('one', { 'a.txt': 'one' }))
    expect((await keyturn('roles', 'seal')).error.code).toBe('CLI_TURN_UNREADY')
    const before = (await keyturn('roles', 'show')).data
    const proposed = await keyturn('roles', 'propose', '--revoke', 'release/1', '--add-release', 'new', '--days', '90')
    expect(proposed.data).toMatchObject({ version: 2, written: true })
    expect((await keyturn('roles', 'show')).data).toMatchObject({ version: 1, in_force: true, proposed: 2 })
    expect((await keyturn('roles', 'seal')).data).toMatchObject({ sn: 1, roles_version: 2, published: false })
    const after = (await keyturn('roles', 'show')).data
    expect(after).toMatchObject({
      version: 2,
      documents: 2,
      revoked_keys: (before['release'] as { keys: string[] }).keys,
    })
    expect((await keyturn('roles', 'show', '--document', '1')).data).toMatchObject({ version: 1, in_force: false })
    expect((await keyturn('release', 'verify')).data).toMatchObject({
      outcome: 'accepted',
      version,
      signed_by: (after['release'] as { keys: string[] }).keys,
    })
  })

  it('refuses a document that no launcher would take, and keys it does not know', async () => {
    expect((await keyturn('roles', 'propose', '--remove-release', 'release/1')).error.code).toBe('TRUST_ROLES')
    expect((await keyturn('roles', 'propose', '--add-head', 'release/1')).error.code).toBe('TRUST_ROLES')
    expect((await keyturn('roles', 'propose', '--add-head', 'nobody')).error.code).toBe('CLI_USAGE')
    expect((await keyturn('roles', 'propose', '--days', '401')).error.code).toBe('CLI_USAGE')
    expect((await keyturn('roles', 'show', '--document', '7')).code).toBe(2)
    expect(await readdir(world.path('home', 'roles'))).toEqual(['1.json'])
  })
})
