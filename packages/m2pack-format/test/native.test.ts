import { ed25519PublicKey, hexDecode, hexEncode, sha256 } from '@keyturn/primitives'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { exportClientConfig } from '../src/index.ts'
import { buildFolder } from '../src/node/index.ts'
import { contentKey, publicKey, seed, slots } from './support/craft.ts'
import { goldenAttributes, goldenFiles, goldenKeys } from './support/golden.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'
import { loadVectorsV2 } from './support/vectors-v2.ts'
import { haveVectors, loadVectors, vectorFolder } from './support/vectors.ts'

const native = fileURLToPath(new URL('../native/', import.meta.url))
const broken = fileURLToPath(new URL('broken/', import.meta.url))
const broken2 = fileURLToPath(new URL('broken-v2/', import.meta.url))

/** Sanitizers end the program with an exit code of their own, so a fault of memory fails the test that met it. */
const CFLAGS = ['-std=c99', '-O1', '-g', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fsanitize=address,undefined']

const built = mkdtempSync(join(tmpdir(), 'keyturn-m2p-native-'))
afterAll(() => rmSync(built, { recursive: true, force: true }))

/** Options start with a hyphen; sources are named from `native/`. */
function compile(output: string, ...sources: readonly string[]): string | undefined {
  const program = join(built, output)
  const files = sources.map((name) => (name.startsWith('-') ? name : join(native, name)))
  const { status } = spawnSync('cc', [...CFLAGS, '-o', program, ...files, '-lsodium', '-lzstd', '-pthread'])
  if (status === 0) return program
  console.info('skipped: the reader in C needs cc, libsodium-dev and libzstd-dev')
  return undefined
}

const program = compile('m2p_reader', 'm2p_reader.c', 'm2p.c')

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
    for (const [version, align] of [
      [1, 1],
      [1, 512],
      [2, 1],
      [2, 512],
    ] as const) {
      const archive = join(root, `${version}-${align}.m2p`)
      await buildFolder(join(root, 'tree'), archive, {
        contentKey,
        signingSeed: seed,
        slots,
        version,
        segmentSize: 65_536,
        align,
      })
      expect(run('list', archive, pub).stdout.trim().split('\n').length).toBe(Object.keys(variedFiles()).length)
      expect(run('verify', archive, pub, secret).stdout).toBe(`ok ${Object.keys(variedFiles()).length} files\n`)
      expect(run('extract', archive, pub, secret, join(root, `out-${version}-${align}`)).status).toBe(0)
      execFileSync('diff', ['-r', join(root, 'tree'), join(root, `out-${version}-${align}`)])
      expect(run('verify', archive, pub, secret, '8').stderr).toContain('M2P_KEY_ID_MISMATCH')
    }
  })

  it('opens the golden archive of version 2, and sets executable bits and times as it says', () => {
    const root = temporaryFolder()
    const { contentKey: key, signingSeed } = goldenKeys(2)
    const { pub, secret } = keyFiles(root, ed25519PublicKey(signingSeed), key.key)
    const golden = fileURLToPath(new URL('golden/v2.m2p', import.meta.url))
    expect(run('extract', golden, pub, secret, join(root, 'out')).stdout).toBe('ok 7 files\n')
    for (const [path, content] of Object.entries(goldenFiles().second)) {
      const file = join(root, 'out', path)
      expect(readFileSync(file).equals(content), path).toBe(true)
      const { executable, mtimeMs } = goldenAttributes(path)
      const stats = statSync(file)
      expect(stats.mtimeMs).toBe(mtimeMs)
      expect((stats.mode & 0o100) !== 0).toBe(executable)
    }
  })

  it.each(['plain', 'sealed', 'segments'] as const)('verifies the archive %s of the vectors of version 2', (name) => {
    const root = temporaryFolder()
    const vector = loadVectorsV2()[name]
    const { pub, secret } = keyFiles(root, hexDecode(vector.public_key), hexDecode(vector.content_key))
    const archive = join(root, `${name}.m2p`)
    writeFileSync(archive, hexDecode(vector.archive))
    const { stdout, stderr } = run('verify', archive, pub, secret, String(vector.key_id))
    expect(stderr).toBe('')
    expect(stdout).toBe(`ok ${vector.files.length} files\n`)
    const [file] = vector.files
    const printed = spawnSync(program as string, ['cat', archive, pub, secret, file!.path])
    expect(hexEncode(sha256(printed.stdout))).toBe(file!.sha256)
  })

  it.each([
    { version: 1, kit: broken, least: 265 },
    { version: 2, kit: broken2, least: 105 },
  ])('gives the same code as this package for every broken archive of version $version', ({ kit, least }) => {
    const { pub, secret } = keyFiles(temporaryFolder(), publicKey, contentKey.key)
    let agreed = 0
    for (const name of readdirSync(kit)) {
      if (NEEDS_TABLES.test(name) || name.includes('key-id-without-verifier') || name.includes('key-id-8-throughout'))
        continue
      const { stderr, status } = run('verify', join(kit, name), pub, secret, '7')
      expect(`${name}: ${stderr.split(':')[0]} ${status}`).toBe(`${name}: ${name.split('.')[1]} 4`)
      agreed++
    }
    expect(agreed).toBeGreaterThanOrEqual(least)
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

  it('prints a file or a range of it, and nothing that a holder of the content key forged', async () => {
    const root = temporaryFolder()
    const { pub, secret } = keyFiles(root, publicKey, contentKey.key)
    for (const [version, kit] of [
      [1, broken],
      [2, broken2],
    ] as const) {
      const { archive } = await largeArchive(root, version)
      const cat = (...args: string[]) => spawnSync(program as string, ['cat', archive, pub, secret, ...args])
      expect(cat('big.bin').stdout.equals(big)).toBe(true)
      expect(cat('big.bin', '65530', '20').stdout.equals(big.subarray(65_530, 65_550))).toBe(true)
      expect(cat('big.bin', '1000', '250000').stdout.equals(big.subarray(1000, 251_000))).toBe(true)
      expect(cat('missing').stderr.toString()).toContain('M2P_ENTRY_UNKNOWN')
      const forged = join(
        kit,
        readdirSync(kit).find((name) => name.includes('forged-by-a-holder'))!,
      )
      const files = run('list', forged, pub).stdout.trim().split('\n')
      const codes = files.map((line) => run('cat', forged, pub, secret, line.split(' ')[1]!).stderr)
      expect(codes.some((text) => text.startsWith('M2P_NONCE'))).toBe(true)
    }
  })
})

const big = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, index) => (index * index) >> 7))

async function largeArchive(root: string, version: 1 | 2 = 1): Promise<{ archive: string; files: number }> {
  writeTree(join(root, 'tree'), { ...variedFiles(), 'big.bin': big })
  if (process.platform !== 'win32') chmodSync(join(root, 'tree/big.bin'), 0o755)
  utimesSync(join(root, 'tree/big.bin'), 1_600_000_000, 1_600_000_000.125)
  const archive = join(root, `large-${version}.m2p`)
  const form = { version, mtimes: version === 2, segmentSize: 65_536, align: 512 }
  const options = { contentKey, signingSeed: seed, slots, ...form }
  const { files } = await buildFolder(join(root, 'tree'), archive, options)
  return { archive, files }
}

describe.skipIf(program === undefined)('the library in C', () => {
  it('answers ranges, names and threads, and survives any failure of memory or disk', async () => {
    const root = temporaryFolder()
    const api = compile('api', '../test/native/api.c', 'm2p.c')!
    for (const version of [1, 2] as const) {
      const { archive } = await largeArchive(root, version)
      const { stdout, stderr } = spawnSync(api, [archive, hexEncode(publicKey), hexEncode(contentKey.key)], {
        encoding: 'utf8',
      })
      expect(stderr).toBe('')
      expect(stdout).toBe(`ok, version ${version}\n`)
    }
  })

  it('is C++17, too, and compiles for Windows', () => {
    const strict = ['-O1', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-c', join(native, 'm2p.c')]
    const cpp = spawnSync('c++', ['-std=c++17', '-x', 'c++', ...strict, '-o', join(built, 'cpp.o')], {
      encoding: 'utf8',
    })
    expect(cpp.error === undefined ? cpp.stderr : '').toBe('')
    // Only the headers of the two libraries: the system's own would shadow those of mingw.
    const headers = join(built, 'headers')
    mkdirSync(headers)
    for (const name of ['sodium', 'sodium.h', 'zstd.h', 'zstd_errors.h'])
      cpSync(join('/usr/include', name), join(headers, name), { recursive: true })
    for (const name of ['m2p.c', 'm2p_reader.c']) {
      const output = join(built, `${name}.obj`)
      const windows = spawnSync(
        'x86_64-w64-mingw32-gcc',
        ['-std=c99', '-O1', '-Wall', '-Wextra', '-Werror', '-I', headers, '-c', join(native, name), '-o', output],
        { encoding: 'utf8' },
      )
      if (windows.error !== undefined) return void console.info('skipped: no mingw-w64 here')
      expect(windows.stderr).toBe('')
    }
  })

  it('opens no hostile archive wrongly, whatever hash, signature and tags say', () => {
    const options = ['-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION', '-DM2P_FUZZ_REPLAY', `-I${native}`]
    const fuzz = compile('fuzz', ...options, 'fuzz/m2p_fuzz.c', 'm2p.c')!
    const corpus = [broken, broken2].flatMap((kit) => readdirSync(kit).map((name) => join(kit, name)))
    corpus.push(fileURLToPath(new URL('golden/v2.m2p', import.meta.url)))
    const { stdout, stderr } = spawnSync(fuzz, corpus, { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(stdout).toBe(`replayed ${corpus.length}\n`)
  })

  it('installs by CMake, and another project finds it by pkg-config', async () => {
    const [build, prefix] = [join(built, 'cmake'), join(built, 'prefix')]
    const configure = spawnSync('cmake', ['-S', native, '-B', build, `-DCMAKE_INSTALL_PREFIX=${prefix}`])
    if (configure.error !== undefined) return void console.info('skipped: no cmake here')
    execFileSync('cmake', ['--build', build])
    execFileSync('cmake', ['--install', build], { stdio: 'ignore' })
    const library = dirname(findFile(prefix, 'm2p.pc'))
    const flags = execFileSync('pkg-config', ['--static', '--cflags', '--libs', 'm2p'], {
      encoding: 'utf8',
      env: { ...process.env, PKG_CONFIG_PATH: library },
    })
    const user = join(built, 'user.c')
    writeFileSync(
      user,
      '#include <m2p.h>\n#include <stdio.h>\nint main(void) { return puts(m2p_code(M2P_E_TOC)) < 0; }\n',
    )
    execFileSync('cc', ['-o', join(built, 'user'), user, ...flags.trim().split(/\s+/)])
    expect(execFileSync(join(built, 'user'), { encoding: 'utf8' })).toBe('M2P_TOC\n')
  })

  it('is read from C#', async () => {
    const root = temporaryFolder()
    const shared = ['-std=c99', '-O1', '-shared', '-fPIC', '-fvisibility=hidden', '-o', join(built, 'libm2p.so')]
    execFileSync('cc', [...shared, join(native, 'm2p.c'), '-lsodium', '-lzstd'])
    const sources = [join(native, 'csharp/M2p.cs'), fileURLToPath(new URL('native/Check.cs', import.meta.url))]
    const program = join(built, 'Check.exe')
    const compiled = spawnSync('mcs', ['-warnaserror', `-out:${program}`, ...sources], { encoding: 'utf8' })
    if (compiled.error !== undefined) return void console.info('skipped: no mono here')
    expect(compiled.stdout + compiled.stderr).toBe('')
    for (const version of [1, 2] as const) {
      const { archive, files } = await largeArchive(root, version)
      const args = [archive, '7', hexEncode(publicKey), hexEncode(contentKey.key), 'big.bin']
      const { stdout, stderr } = spawnSync('mono', [program, ...args], {
        encoding: 'utf8',
        env: { ...process.env, LD_LIBRARY_PATH: built },
      })
      expect(stderr).toBe('')
      expect(stdout.trim().split('\n')).toEqual([
        String(files),
        version === 1 ? 'version 1, False, no time' : 'version 2, True, 2020-09-13T12:26:40.1250000Z',
        'M2P_USAGE',
        hexEncode(sha256(big)),
        'M2P_SIGNATURE',
        'M2P_KEY_ID_UNKNOWN',
      ])
    }
  })
})

function findFile(folder: string, name: string): string {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).find((entry) => entry.name === name)!
  return join(found.parentPath, name)
}
