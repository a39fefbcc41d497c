import { cp, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hexEncode } from '@keyturn/primitives'
import { nodeFileSystem as fs } from '@keyturn/primitives/node'
import { expect, it } from 'vitest'
import { HashCache } from '../src/disk/hash-cache.ts'
import { layoutOf } from '../src/disk/layout.ts'
import { PartFile, plainChunks } from '../src/fetch/part-file.ts'
import { SealedKeyCache } from '../src/start/sealed-key-cache.ts'
import { readSettings } from '../src/settings.ts'
import { readState } from '../src/disk/state-file.ts'
import { parseEach, parseMode, readTransaction } from '../src/place/transaction.ts'
import { temporaryFolder } from './support/install.ts'
import { contentKey, noise, sha256Hex } from './support/publisher.ts'

const golden = fileURLToPath(new URL('./golden/1', import.meta.url))

async function install() {
  const folder = await temporaryFolder()
  const layout = layoutOf(folder)
  await mkdir(layout.staging, { recursive: true })
  for (const name of ['txn.json', 'state.json', 'settings.json', 'hashcache.bin'])
    await copyFile(join(golden, name), join(layout.updates, name))
  return layout
}

it('readTransaction(), readState() and readSettings() open the files of version 1', async () => {
  const layout = await install()
  const transaction = await readTransaction(fs, layout.transaction)
  expect(transaction).toMatchObject({
    id: '0123456789abcdef',
    kind: 'update',
    from: { sequence: 1 },
    to: { sequence: 2 },
  })
  expect(transaction?.steps.map(({ path, existed, sha256 }) => [path, existed, sha256])).toEqual([
    ['a/b.txt', true, 'ab'.repeat(32)],
    ['gone.txt', true, undefined],
  ])
  expect((await readState(fs, layout)).state).toMatchObject({
    installed: { version: '2026.11.21-2' },
    failedStarts: 1,
    previous: { transaction: '0123456789abcdef' },
    failed: ['3'.repeat(64)],
  })
  expect(await readSettings(fs, layout)).toMatchObject({
    channel: 'beta',
    program: ['bin/client', '--windowed'],
    delivery: 'fd',
    limit: 500_000,
    language: 'cs',
  })
})

it('readTransaction() and parseMode() open the files of version 2', async () => {
  const second = join(golden, '../2')
  expect(await readTransaction(fs, join(second, 'txn.json'))).toMatchObject({
    id: '0123456789abcdef',
    to: { sequence: 2 },
    steps: [
      { path: 'readme/en.txt', existed: false },
      { path: 'Fusion.mp3', existed: true },
    ],
    asides: [{ path: 'readme', to: 'readme.set-aside' }],
    modes: [{ path: 'bin/run', mode: 0o755, oldMode: 0o644 }],
  })
  const modes: unknown = JSON.parse(await readFile(join(second, 'modes.json'), 'utf8'))
  expect(parseEach(modes, parseMode)).toEqual([{ path: 'bin/run', mode: 0o755, oldMode: 0o644 }])
})

it('readTransaction() takes no aside and no mode that leads out of the install, or is none', async () => {
  const { transaction } = await install()
  for (const bad of [
    '"asides":[{"path":"a","to":"../b"}]',
    '"asides":[{"path":"/a","to":"b"}]',
    '"asides":{}',
    '"modes":[{"path":"../a","mode":420,"oldMode":420}]',
    '"modes":[{"path":"a","mode":2541,"oldMode":420}]',
    '"modes":[{"path":"a","mode":"420","oldMode":420}]',
  ]) {
    const text = await readFile(join(golden, '../2/txn.json'), 'utf8')
    const body = (/"body":(.*)\}\n$/s.exec(text)?.[1] ?? '').replace(
      bad.startsWith('"asides"') ? /"asides":\[.*?\]/ : /"modes":\[.*?\]/,
      bad,
    )
    await writeFile(transaction, `{"schema":2,"sha256":"${sha256Hex(Buffer.from(body))}","body":${body}}\n`)
    await expect(readTransaction(fs, transaction)).rejects.toMatchObject({ code: 'LA_JOURNAL' })
  }
})

it('HashCache.load() opens the file of version 1', async () => {
  const cache = await HashCache.load(fs, join(golden, 'hashcache.bin'))
  expect(
    cache.get('a/b.txt', { size: 5, mtimeNs: 1795219200000000001n, ctimeNs: 1795219200000000002n, inode: 42n }),
  ).toBe('ab'.repeat(32))
  expect(cache.get('č.txt', { size: 0, mtimeNs: 1n, ctimeNs: 2n, inode: 3n })).toBe('cd'.repeat(32))
  expect(cache.get('č.txt', { size: 0, mtimeNs: 1n, ctimeNs: 2n, inode: 4n })).toBeUndefined()
})

it('SealedKeyCache.get() opens the file of version 1', async () => {
  const folder = await temporaryFolder()
  await cp(golden, folder, { recursive: true })
  const key = await new SealedKeyCache(fs, join(folder, 'runtime-keys.sealed'), join(folder, 'seal.key')).get(
    '5'.repeat(64),
  )
  expect(key?.withBytes(hexEncode)).toBe(contentKey(4).hex)
  key?.dispose()
})

it('PartFile.open() goes on from the map of version 1', async () => {
  const folder = await temporaryFolder()
  const bytes = noise(2_500_000, 7)
  const sha256 = sha256Hex(bytes)
  await copyFile(join(golden, 'part.map'), join(folder, `${sha256}.map`))
  await writeFile(join(folder, `${sha256}.part`), bytes)
  const part = await PartFile.open({
    fs,
    folder,
    blob: { sha256, size: bytes.length },
    chunks: plainChunks(bytes.length),
    monotonic: () => 0,
  })
  // Of its three pieces of a megabyte, the first and the last are missing.
  const missing = part.missing().map((index) => part.chunks[index]?.offset ?? 0)
  expect(part.missingBytes).toBe(bytes.length - 1024 * 1024)
  expect(new Set(missing.map((offset) => Math.floor(offset / (1024 * 1024))))).toEqual(new Set([0, 2]))
  await part.close()
})

it('readTransaction() refuses a version it does not know, and every cut and flipped byte', async () => {
  const layout = await install()
  const bytes = new Uint8Array(await readFile(layout.transaction))
  for (let at = 0; at < bytes.length; at += 7) {
    const flipped = bytes.slice()
    flipped[at] = (flipped[at] ?? 0) ^ 0x20
    for (const bad of [flipped, bytes.slice(0, at)]) {
      await writeFile(layout.transaction, bad)
      await expect(readTransaction(fs, layout.transaction)).rejects.toMatchObject({ code: 'LA_JOURNAL' })
    }
  }
})
