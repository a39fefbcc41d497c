import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'
import { MAIN } from './support/program.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

/** Runs a command on the world's home. */
function run(...args: string[]): Promise<Outcome> {
  return keyturn(['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', ...args], {
    cwd: world.folder,
  })
}

/** An exit code with the error code that explains it. */
function answer(outcome: Outcome): [number | null, string] {
  return [outcome.code, codeOf(outcome)]
}

async function archive(): Promise<void> {
  await world.source()
  expect((await run('pack', 'keygen', '--out-dir', 'k')).code).toBe(0)
  expect((await run('pack', 'keygen', '--out-dir', 'other')).code).toBe(0)
  expect(
    (
      await run(
        'pack',
        'build',
        '--input',
        'source',
        '--output',
        'a.m2p',
        '--key',
        'k/master.key',
        '--sign-secret-key',
        'k/signing.key',
        '--key-id',
        '3',
      )
    ).code,
  ).toBe(0)
}

describe('keyturn pack verify', () => {
  it('refuses a wrong content key, a wrong key_id, a wrong verifier and a cut archive, exit 4', async () => {
    await archive()
    const verify = (...args: string[]): Promise<Outcome> => run('pack', 'verify', '--archive', 'a.m2p', ...args)
    expect((await verify('--public-key', 'k/signing.pub', '--key', 'k/master.key')).code).toBe(0)
    expect(answer(await verify('--public-key', 'k/signing.pub', '--key', 'other/master.key'))).toEqual([
      4,
      'M2P_KEY_COMMITMENT',
    ])
    expect(answer(await verify('--public-key', 'other/signing.pub', '--key', 'k/master.key'))).toEqual([
      4,
      'M2P_SIGNATURE',
    ])
    expect(answer(await verify('--public-key', 'k/signing.pub', '--key', 'k/master.key', '--key-id', '4'))[0]).toBe(4)
    await truncate(world.path('a.m2p'), 5000)
    expect((await verify('--public-key', 'k/signing.pub', '--key', 'k/master.key')).code).toBe(4)
    await writeFile(world.path('a.m2p'), 'no archive')
    expect((await verify('--public-key', 'k/signing.pub')).code).toBe(4)
  })

  it('says what is missing: exit 2 for a path that is not there', async () => {
    expect((await run('pack', 'verify', '--archive', 'nope.m2p', '--public-key', 'nope.pub')).code).toBeGreaterThan(1)
  })
})

describe('keyturn pack tree and release prepare', () => {
  it('refuse a symbolic link in the input tree, exit 4', async () => {
    await world.source()
    await symlink('/etc/passwd', world.path('source', 'data', 'link'))
    const packed = await run('pack', 'tree', '--input', 'source', '--output', 'tree')
    expect(packed.code).toBe(4)
    expect(codeOf(packed)).toMatch(/SPECIAL_FILE$/)
    await mkdir(world.path('plain'))
    await symlink('/etc/passwd', world.path('plain', 'link'))
    expect(answer(await run('release', 'prepare', 'plain'))).toEqual([4, 'BUILD_SPECIAL_FILE'])
  })

  it('refuse a tree that is empty or not there', async () => {
    await mkdir(world.path('empty'))
    expect(answer(await run('pack', 'tree', '--input', 'empty', '--output', 'tree'))).toEqual([4, 'BUILD_EMPTY'])
    expect((await run('pack', 'tree', '--input', 'nowhere', '--output', 'tree')).code).toBe(2)
  })

  it('refuse an output folder that holds something, and names that no client could install', async () => {
    await world.source()
    await mkdir(world.path('full', 'x'), { recursive: true })
    expect(answer(await run('pack', 'tree', '--input', 'source', '--output', 'full'))).toEqual([2, 'CLI_EXISTS'])
    await writeFile(world.path('source', 'data', 'con.txt'), 'device name')
    expect(answer(await run('pack', 'tree', '--input', 'source', '--output', 'tree'))).toEqual([4, 'MAN_PATH'])
  })
})

describe('keyturn update and launch', () => {
  it('refuse a lower sequence and an unknown pin, and start what is installed when the server is down', async () => {
    await world.startServer()
    await world.release()
    const pin = String(dataOf(await run('release', 'trust'))['pin'])
    const update = (...args: string[]): Promise<Outcome> => run('update', '--dir', 'game', ...args)
    expect((await update('--server', world.url, '--trust', pin)).code).toBe(0)
    const old = await readFile(world.path('home', 'heads', 'stable.json'))
    await world.release('two')
    expect(dataOf(await update())['outcome']).toBe('updated')

    const other = pin.replace(/said=E.{8}/, 'said=EAAAAAAAA')
    expect((await run('update', '--dir', 'other', '--server', world.url, '--trust', other)).code).toBe(4)

    // The server is put back to an earlier state: its storage is what it was, the launcher is not.
    await writeFile(world.path('home', 'heads', 'stable.json'), old)
    expect((await run('release', 'publish', '--server', world.url)).code).not.toBe(0)

    await world.stopServer()
    expect((await update()).code).toBe(3)
    const started = await run('launch', '--dir', 'game', '--program', process.execPath, '--', '-e', 'process.exit(0)')
    expect(started.stdout).toContain('"offline":true')
    expect(started.code).toBe(0)
  }, 900_000)

  it('leave the old or the new release whole after kill -9 in an apply', async () => {
    await world.startServer()
    await world.release()
    const pin = String(dataOf(await run('release', 'trust'))['pin'])
    expect((await run('update', '--dir', 'game', '--server', world.url, '--trust', pin)).code).toBe(0)
    await world.release('two')
    for (const delayMs of [250, 400, 500, 650]) {
      await cp(world.path('game'), world.path('copy'), { recursive: true, force: true })
      const child = spawn(process.execPath, [MAIN, 'update', '--dir', 'copy', '--quiet'], {
        cwd: world.folder,
        stdio: 'ignore',
      })
      const ended = new Promise((resolve) => {
        child.once('close', resolve)
      })
      setTimeout(() => child.kill('SIGKILL'), delayMs)
      await ended
      const repaired = dataOf(await run('repair', '--dir', 'copy'))
      expect(['up-to-date', 'repaired']).toContain(repaired['outcome'])
      const start = await run(
        'launch',
        '--dir',
        'copy',
        '--offline',
        '--program',
        process.execPath,
        '--',
        '-e',
        'process.exit(0)',
      )
      expect(start.code, start.stdout).toBe(0)
    }
  }, 900_000)
})

describe('a full disk', () => {
  it('stops an update with exit 3 and leaves the installed release whole', async () => {
    await world.startServer()
    await world.release()
    const pin = String(dataOf(await run('release', 'trust'))['pin'])
    expect((await run('update', '--dir', 'game', '--server', world.url, '--trust', pin)).code).toBe(0)
    const before = await readFile(world.path('game', 'pack', 'data.m2p'))
    await world.release(randomBytes(40_000).toString('hex'))
    // No file of this process may grow beyond 16 KiB: the archive does not fit, the documents of a cycle do.
    const limited = spawn(
      'bash',
      ['-c', `ulimit -f 16; exec "$0" --no-warnings "$@"`, process.execPath, MAIN, 'update', '--dir', 'game', '--json'],
      { cwd: world.folder, stdio: ['ignore', 'pipe', 'ignore'] },
    )
    let stdout = ''
    limited.stdout.on('data', (part: Buffer) => {
      stdout += part.toString()
    })
    const code = await new Promise((resolve) => {
      limited.once('close', resolve)
    })
    expect([code, codeOf({ code: 3, stdout, stderr: '' })]).toEqual([3, 'LA_DISK_FULL'])
    expect((await readFile(world.path('game', 'pack', 'data.m2p'))).equals(before)).toBe(true)
    expect(
      (await run('launch', '--dir', 'game', '--offline', '--program', process.execPath, '--', '-e', 'process.exit(0)'))
        .code,
    ).toBe(0)
    expect(dataOf(await run('update', '--dir', 'game'))['outcome']).toBe('updated')
  }, 900_000)

  it('stops a build with exit 3 and leaves no archive behind', async () => {
    await world.source(randomBytes(40_000).toString('hex'))
    const script = `ulimit -f 16; exec "$0" --no-warnings "$@"`
    const limited = spawn(
      'bash',
      [
        '-c',
        script,
        process.execPath,
        MAIN,
        'pack',
        'tree',
        '--input',
        'source',
        '--output',
        'tree',
        '--home',
        world.path('home'),
        '--passphrase-file',
        world.path('passphrase'),
      ],
      { cwd: world.folder, stdio: 'ignore' },
    )
    expect(
      await new Promise((resolve) => {
        limited.once('close', resolve)
      }),
    ).toBe(3)
    expect(existsSync(world.path('tree'))).toBe(false)
  }, 900_000)
})

describe('keyturn', () => {
  it('says that a folder is wanted when a file is given as the source tree: exit 2', async () => {
    const outcome = await run('pack', 'tree', '--input', world.path('passphrase'), '--output', world.path('t'))
    expect([outcome.code, codeOf(outcome), outcome.stdout]).toEqual([
      2,
      'CLI_PATH_UNKNOWN',
      expect.stringContaining('Expected a folder'),
    ])
  })

  it('refuses a wrong passphrase with exit 4, a missing home with 2, a damaged home with 4', async () => {
    await writeFile(world.path('wrong'), 'wrong\n')
    const wrong = await keyturn([
      'doctor',
      '--json',
      '--home',
      world.path('home'),
      '--passphrase-file',
      world.path('wrong'),
    ])
    expect(JSON.stringify(wrong.stdout)).toContain('KEY_PASSPHRASE')
    expect(answer(await keyturn(['status', '--json', '--home', world.path('nowhere')]))).toEqual([
      2,
      'CLI_HOME_MISSING',
    ])
    await writeFile(join(world.path('home'), 'home.json'), '{"format":"keyturn-home","version":99}')
    expect(answer(await run('status'))).toEqual([4, 'CLI_HOME_FORMAT'])
  })

  it('says that the server is down with exit 3', async () => {
    await world.release()
    const outcome = await run('release', 'publish', '--server', 'http://127.0.0.1:1')
    expect(outcome.code).toBe(3)
  })

  it('stops at Ctrl-C with exit 5 and leaves nothing half-written (row 268)', async () => {
    await world.source()
    const outcome = await keyturn(
      ['serve', '--port', '0', '--home', world.path('home'), '--no-head-signer', '--json'],
      {
        onSpawn: (child) => child.stdout?.once('data', () => child.kill('SIGINT')),
      },
    )
    expect(outcome.code).toBe(0)
    const stopped = await keyturn(
      [
        'pack',
        'tree',
        '--events',
        '--json',
        '--input',
        'source',
        '--output',
        'tree',
        '--home',
        world.path('home'),
        '--passphrase-file',
        world.path('passphrase'),
      ],
      {
        cwd: world.folder,
        onSpawn: (child) => child.stderr?.once('data', () => child.kill('SIGINT')),
      },
    )
    expect(answer(stopped)).toEqual([5, 'CLI_INTERRUPTED'])
    expect(existsSync(world.path('tree'))).toBe(false)
  })
})
