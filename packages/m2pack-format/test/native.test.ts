import { hexEncode } from '@keyturn/primitives'
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { exportClientConfig } from '../src/index.ts'
import { buildFolder } from '../src/node/index.ts'
import { contentKey, publicKey, seed, slots } from './support/craft.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'
import { haveVectors, loadVectors, vectorFolder } from './support/vectors.ts'

const source = fileURLToPath(new URL('../native/m2p_reader.c', import.meta.url))
const broken = fileURLToPath(new URL('broken/', import.meta.url))

function compile(): string | undefined {
  const program = join(tmpdir(), `keyturn-m2p-reader-${process.pid}`)
  const { status } = spawnSync('cc', [
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    program,
    source,
    '-lsodium',
    '-lzstd',
  ])
  if (status === 0) return program
  console.info('skipped: the reader in C needs cc, libsodium-dev and libzstd-dev')
  return undefined
}

const program = compile()

/** Rules on names that need Unicode tables, which the reader in C leaves to the writer. */
const NEEDS_TABLES = /path-(?:eu301|u212b|au378|au10ffff|aud|audbff)|collision-(?:1|3|7|8|9|10|13)\./

describe.skipIf(program === undefined)('the reference reader in C', () => {
  const run = (...args: string[]) => spawnSync(program as string, args, { encoding: 'utf8' })

  function keyFiles(root: string, verifier: Uint8Array, key: Uint8Array): { pub: string; secret: string } {
    const [pub, secret] = [join(root, 'signing.pub'), join(root, 'master.key')]
    writeFileSync(pub, `${hexEncode(verifier)}\n`)
    writeFileSync(secret, `${hexEncode(key)}\n`)
    return { pub, secret }
  }

  it('lists, verifies and extracts what buildFolder() writes', async () => {
    const root = temporaryFolder()
    const { pub, secret } = keyFiles(root, publicKey, contentKey.key)
    writeTree(join(root, 'tree'), variedFiles())
    for (const align of [1, 512]) {
      const archive = join(root, `${align}.m2p`)
      await buildFolder(join(root, 'tree'), archive, {
        contentKey,
        signingSeed: seed,
        slots,
        segmentSize: 65_536,
        align,
      })
      expect(run('list', archive, pub).stdout.trim().split('\n').length).toBe(Object.keys(variedFiles()).length)
      expect(run('verify', archive, pub, secret).stdout).toBe(`ok ${Object.keys(variedFiles()).length} files\n`)
      expect(run('extract', archive, pub, secret, join(root, `out-${align}`)).status).toBe(0)
      execFileSync('diff', ['-r', join(root, 'tree'), join(root, `out-${align}`)])
      expect(run('verify', archive, pub, secret, '8').stderr).toContain('M2P_KEY_ID_MISMATCH')
    }
  })

  it('gives the same code as this package for every broken archive', () => {
    const { pub, secret } = keyFiles(temporaryFolder(), publicKey, contentKey.key)
    let agreed = 0
    for (const name of readdirSync(broken)) {
      if (NEEDS_TABLES.test(name) || name.includes('key-id-without-verifier') || name.includes('key-id-8-throughout'))
        continue
      const { stderr, status } = run('verify', join(broken, name), pub, secret, '7')
      expect(`${name}: ${stderr.split(':')[0]} ${status}`).toBe(`${name}: ${name.split('.')[1]} 4`)
      agreed++
    }
    expect(agreed).toBeGreaterThanOrEqual(265)
  })

  it.skipIf(!haveVectors)('verifies the archives of the independent implementation', () => {
    const vectors = loadVectors()
    let count = 0
    for (const archive of vectors.archives) {
      const root = temporaryFolder()
      const { pub, secret } = keyFiles(root, publicKey, contentKey.key)
      writeFileSync(pub, vectors.public_key)
      writeFileSync(secret, archive.content_key)
      expect(run('verify', vectorFolder + archive.file, pub, secret, String(archive.key_id)).stdout).toBe(
        `ok ${archive.entries.length} files\n`,
      )
      count++
    }
    expect(count).toBe(14)
  })

  it('a C++ client compiles the header of exportClientConfig(), with the very bytes', () => {
    const root = temporaryFolder()
    writeFileSync(
      join(root, 'M2PackKeys.h'),
      exportClientConfig(
        new Map([
          [3, publicKey],
          [7, publicKey],
        ]),
        { defaultKeyId: 3 },
      ),
    )
    writeFileSync(
      join(root, 'main.cpp'),
      `
      #include "M2PackKeys.h"
      #include <cstdio>
      static_assert(m2pack::kVerifierCount == 2 && m2pack::kVerifierKeyIds[1] == 7u && m2pack::kDefaultKeyId == 3u, "slots");
      int main() { for (unsigned char byte : m2pack::kVerifierPublicKeys[0]) std::printf("%02x", byte); std::printf(" %s", m2pack::kSharedKeysMappingName); return m2pack::kCompiledMasterKey[31]; }
    `,
    )
    const compiled = spawnSync(
      'c++',
      ['-std=c++17', '-Wall', '-Werror', '-o', join(root, 'main'), join(root, 'main.cpp')],
      { encoding: 'utf8' },
    )
    if (compiled.error !== undefined) return void console.info('skipped: no C++ compiler here')
    expect(compiled.stderr).toBe('')
    expect(execFileSync(join(root, 'main'), { encoding: 'utf8' })).toBe(
      `${hexEncode(publicKey)} Local\\M2PackSharedKeys`,
    )
  })

  it('is the file that the package ships', () => {
    expect(readFileSync(source, 'utf8')).toContain('m2p_reader.c - reference reader')
  })
})
