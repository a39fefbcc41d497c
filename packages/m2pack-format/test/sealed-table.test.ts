import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { blake2b256, ed25519Sign, hexEncode, utf8Decode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { blobSource, openArchive } from '../src/index.ts'
import { buildFolder, extractArchive, openArchiveFile, rewrapFile, verifyArchiveFile } from '../src/node/index.ts'
import { contentKey, publicKey, seed, slots } from './support/craft.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const verifiers = new Map([
  [contentKey.keyId, publicKey],
  [9, publicKey],
])
const newKey = { keyId: 9, key: new Uint8Array(32).fill(0x99) }

function packed(): { root: string; tree: string; names: string[] } {
  const root = temporaryFolder()
  const tree = join(root, 'tree')
  writeTree(tree, variedFiles())
  return { root, tree, names: Object.keys(variedFiles()) }
}

const options = { contentKey, signingSeed: seed, slots, segmentSize: 65_536 } as const

describe('a sealed table', () => {
  it('lists, reads and verifies with the content key as any other archive does', async () => {
    const { root, tree, names } = packed()
    const file = join(root, 'sealed.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const plain = join(root, 'plain.m2p')
    await buildFolder(tree, plain, options)
    const sealed = await openArchiveFile(file, { verifiers, contentKey })
    const open = await openArchiveFile(plain, { verifiers, contentKey })
    expect(sealed.archive.sealed).toBe(true)
    expect(open.archive.sealed).toBe(false)
    expect(sealed.archive.entries.map(({ path }) => path)).toEqual(open.archive.entries.map(({ path }) => path))
    expect(sealed.archive.manifestBytes.length).toBe(open.archive.manifestBytes.length + 40)
    for (const { path } of open.archive.entries)
      expect(await sealed.archive.read(path)).toEqual(await open.archive.read(path))
    await sealed.close()
    await open.close()
    expect((await verifyArchiveFile(file, { verifiers, contentKey })).failures).toEqual([])
    const out = join(root, 'out')
    await extractArchive(file, out, { verifiers, contentKey })
    for (const name of names) expect(readFileSync(join(out, name))).toEqual(readFileSync(join(tree, name)))
  })

  it('says nothing about its files without the content key, and no byte of a name is in the file', async () => {
    const { root, tree, names } = packed()
    const file = join(root, 'sealed.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const { archive, close } = await openArchiveFile(file, { verifiers })
    expect(archive.sealed).toBe(true)
    expect(archive.listable).toBe(false)
    expect(archive.signatureChecked).toBe(true)
    expect(() => archive.entries).toThrow(expect.objectContaining({ code: 'M2P_SEALED' }))
    expect(() => archive.find('x')).toThrow(expect.objectContaining({ code: 'M2P_SEALED' }))
    await close()
    const bytes = readFileSync(file)
    for (const name of names) {
      const longest = name.split('/').toSorted((left, right) => right.length - left.length)[0] ?? ''
      if (longest.length >= 5) expect(bytes.includes(longest), name).toBe(false)
    }
  })

  it('does not open under another key, with another preamble, or cut', async () => {
    const { root, tree } = packed()
    const file = join(root, 'sealed.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const whole = new Uint8Array(readFileSync(file))
    const other = { keyId: contentKey.keyId, key: new Uint8Array(32).fill(1) }
    await expect(openArchive(blobSource(new Blob([whole])), { verifiers, contentKey: other })).rejects.toMatchObject({
      code: 'M2P_KEY_COMMITMENT',
    })
    const wrongId = { ...contentKey, keyId: 9 }
    await expect(openArchive(blobSource(new Blob([whole])), { verifiers, contentKey: wrongId })).rejects.toMatchObject({
      code: 'M2P_KEY_ID_MISMATCH',
    })
    // The publisher signs whatever is changed here: only the table itself says no.
    const signedAgain = (change: (manifest: Uint8Array) => Uint8Array): Uint8Array<ArrayBuffer> => {
      const view = new DataView(whole.buffer)
      const at = Number(view.getBigUint64(16, true))
      const manifest = change(whole.slice(at))
      const made = new Uint8Array(at + manifest.length)
      made.set(whole.subarray(0, at))
      made.set(manifest, at)
      new DataView(made.buffer).setBigUint64(24, BigInt(manifest.length), true)
      made.set(blake2b256(manifest), 32)
      made.set(ed25519Sign(seed, manifest), 64)
      return made
    }
    const refusal = async (change: (manifest: Uint8Array) => Uint8Array): Promise<unknown> =>
      await openArchive(blobSource(new Blob([signedAgain(change)])), { verifiers, contentKey }).then(
        () => 'opened',
        (error: unknown) => (error as { code?: string }).code,
      )
    const edit = (at: number, by: number) => (manifest: Uint8Array) => {
      const made = manifest.slice()
      const place = at < 0 ? made.length + at : at
      made[place] = (made[place] ?? 0) ^ by
      return made
    }
    expect(await refusal((manifest) => manifest)).toBe('opened')
    expect(await refusal(edit(12, 1))).toBe('M2P_DECRYPT') // entry_count
    expect(await refusal(edit(-1, 1))).toBe('M2P_DECRYPT')
    expect(await refusal(edit(-40, 128))).toBe('M2P_DECRYPT')
    expect(await refusal(edit(20, 1))).toBe('M2P_HEADER') // flags 3
    expect(await refusal((manifest) => manifest.slice(0, -1))).toBe('M2P_DECRYPT')
    const slotCount = new DataView(whole.buffer, Number(new DataView(whole.buffer).getBigUint64(16, true))).getUint32(
      24,
      true,
    )
    expect(await refusal((manifest) => manifest.slice(0, 64 + 76 * slotCount + 39))).toBe('M2P_TOC')
  })

  it('is carried over from, and opened or sealed again by a rewrap, with payloads as they are', async () => {
    const { root, tree } = packed()
    const file = join(root, 'sealed.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const previous = await openArchiveFile(file, { verifiers, contentKey })
    const next = await buildFolder(tree, join(root, 'next.m2p'), { ...options, previous: previous.archive })
    expect(next.carriedFiles).toBe(next.files)
    const payloadEnd = previous.archive.header.manifestOffset
    await previous.close()
    const open = { verifiers, contentKey }
    for (const sealTable of [false, true]) {
      const target = join(root, `rewrapped-${String(sealTable)}.m2p`)
      await rewrapFile(file, target, { open, contentKey: newKey, signingSeed: seed, sealTable })
      expect(readFileSync(target).subarray(128, payloadEnd)).toEqual(readFileSync(file).subarray(128, payloadEnd))
      const { archive, close } = await openArchiveFile(target, { verifiers, contentKey: newKey })
      expect(archive.sealed).toBe(sealTable)
      expect(archive.entries.length).toBe(next.files)
      await close()
    }
  })

  it('follows the bytes of the specification', async () => {
    const { root } = packed()
    const tree = join(root, 'one')
    writeTree(tree, { 'hello.txt': new TextEncoder().encode('hello, player\n') })
    const file = join(root, 'one.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const whole = new Uint8Array(readFileSync(file))
    const manifest = whole.subarray(Number(new DataView(whole.buffer).getBigUint64(16, true)))
    expect(hexEncode(manifest.subarray(20, 24))).toBe('02000000')
    const { hmacSha256, openXChaCha20Poly1305 } = await import('@keyturn/primitives')
    const id = new Uint8Array([contentKey.keyId, 0, 0, 0])
    const label = (text: string): Uint8Array => new TextEncoder().encode(text)
    const start = 64 + 76
    const table = openXChaCha20Poly1305(
      hmacSha256(contentKey.key, label('m2pack table key v1'), id),
      manifest.subarray(start, start + 24),
      manifest.subarray(start + 24),
      { aad: manifest.subarray(0, 64) },
    )
    expect(utf8Decode(table.subarray(2, 11))).toBe('hello.txt')
    const nonce = hmacSha256(contentKey.key, label('m2pack table nonce v1'), id, table)
    expect(hexEncode(nonce.subarray(0, 24))).toBe(hexEncode(manifest.subarray(start, start + 24)))
  })
})

function compile(): string | undefined {
  const program = join(tmpdir(), `keyturn-m2p-reader-sealed-${process.pid}`)
  const sources = ['m2p_reader.c', 'm2p.c'].map((name) => fileURLToPath(new URL(`../native/${name}`, import.meta.url)))
  const flags = ['-O1', '-Wall', '-Wextra', '-Werror']
  const { status } = spawnSync('cc', [...flags, '-o', program, ...sources, '-lsodium', '-lzstd'])
  if (status === 0) return program
  console.info('skipped: the reader in C needs cc, libsodium-dev and libzstd-dev')
  return undefined
}

const program = compile()

describe.skipIf(program === undefined)('the reference reader in C and a sealed table', () => {
  it('opens it with the key, refuses to list it without', async () => {
    const { root, tree, names } = packed()
    const file = join(root, 'sealed.m2p')
    await buildFolder(tree, file, { ...options, sealTable: true })
    const [pub, secret] = [join(root, 'signing.pub'), join(root, 'master.key')]
    writeFileSync(pub, `${hexEncode(publicKey)}\n`)
    writeFileSync(secret, `${hexEncode(contentKey.key)}\n`)
    const run = (...args: string[]) => spawnSync(program as string, args, { encoding: 'utf8' })
    expect(run('list', file, pub).stderr).toContain('M2P_SEALED')
    expect(run('verify', file, pub, secret).stdout).toBe(`ok ${names.length} files\n`)
    expect(run('verify', file, pub, secret, '8').stderr).toContain('M2P_KEY_ID_MISMATCH')
    writeFileSync(secret, `${'01'.repeat(32)}\n`)
    expect(run('verify', file, pub, secret).stderr).toContain('M2P_KEY_COMMITMENT')
  })
})
