import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from '../support/keyturn.ts'
import type { Outcome } from '../support/keyturn.ts'

/** A user who is not this one. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

const root = mkdtempSync(join(tmpdir(), 'unlock-'))
const home = join(root, 'home')
const runtime = join(root, 'runtime')
const passphrase = ['--passphrase-file', join(root, 'passphrase')]
let signed = 0

/** A command without a passphrase and without a terminal to ask on. */
function run(...args: readonly string[]): Promise<Outcome> {
  return keyturn([...args, '--home', home, '--json', '--yes'], { env: { XDG_RUNTIME_DIR: runtime } })
}

/** Signs something, which needs the passphrase; gives the code of the refusal, or undefined. */
async function refusalToSign(): Promise<string | undefined> {
  signed += 1
  const outcome = await run('sign', join(root, 'passphrase'), '-o', join(root, `${signed}.sig`))
  return outcome.code === 0 ? undefined : codeOf(outcome)
}

function socket(): string {
  const [name] = readdirSync(join(runtime, 'keyturn'))
  return join(runtime, 'keyturn', name as string)
}

beforeAll(async () => {
  // Open to all on the way there: only the folder of the socket keeps others out.
  chmodSync(root, 0o755)
  mkdirSync(runtime, { mode: 0o755 })
  writeFileSync(join(root, 'passphrase'), 'test\n', { mode: 0o600 })
  writeFileSync(join(root, 'wrong'), 'another\n', { mode: 0o600 })
  dataOf(await run('id', 'init', '--alias', 'laptop', ...passphrase))
})
afterEach(async () => {
  await run('lock')
  rmSync(join(runtime, 'keyturn'), { recursive: true, force: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe.skipIf(process.platform === 'win32')('keyturn unlock', () => {
  it('stands for the passphrase until "lock"; status says so; next identity keys are still asked for', async () => {
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
    expect(dataOf(await run('unlock', '--dry-run', ...passphrase))).toMatchObject({ unlocked: false, dry_run: true })
    const unlocked = dataOf(await run('unlock', '--for', '1h', ...passphrase))
    expect(await refusalToSign()).toBeUndefined()
    expect(dataOf(await run('status'))).toMatchObject({ unlocked_until: unlocked['unlocked_until'] })
    expect(codeOf(await run('id', 'rotate'))).toBe('CLI_NO_TERMINAL')
    expect([statSync(join(runtime, 'keyturn')).mode & 0o777, statSync(socket()).mode & 0o777]).toEqual([0o700, 0o600])
    expect(dataOf(await run('lock'))).toEqual({ was_unlocked: true })
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
    expect(dataOf(await run('status'))['unlocked_until']).toBeUndefined()
    expect(dataOf(await run('lock'))).toEqual({ was_unlocked: false })
  })

  it('is refused under a wrong passphrase, for too long, and without keys; nothing is unlocked', async () => {
    expect(codeOf(await run('unlock', '--passphrase-file', join(root, 'wrong')))).toBe('KEY_PASSPHRASE')
    for (const time of ['13h', '1d', '0m', 'soon'])
      expect(codeOf(await run('unlock', '--for', time, ...passphrase))).toBe('CLI_USAGE')
    const empty = ['--home', join(root, 'nothing'), '--json', ...passphrase]
    expect(codeOf(await keyturn(['unlock', ...empty]))).toBe('CLI_HOME_MISSING')
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
  })

  it('ends with a change of the passphrase, and a second one takes the place of the first', async () => {
    const first = dataOf(await run('unlock', '--for', '1h', ...passphrase))
    const second = dataOf(await run('unlock', '--for', '2h', ...passphrase))
    expect(dataOf(await run('status'))['unlocked_until']).toBe(second['unlocked_until'])
    expect(first['unlocked_until']).not.toBe(second['unlocked_until'])
    dataOf(await run('passphrase', '--new-passphrase-file', join(root, 'passphrase'), ...passphrase))
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
  })

  it('leaves nothing that works when its process is killed, as by a reboot (row 386)', async () => {
    dataOf(await run('unlock', ...passphrase))
    const path = socket()
    const pids = execFileSync('sh', ['-c', `ls -l /proc/[0-9]*/exe 2>/dev/null | grep -o '/proc/[0-9]*' || true`], {
      encoding: 'utf8',
    })
    for (const folder of pids.split('\n').filter((line) => line !== '')) {
      const holds = execFileSync('sh', ['-c', `tr '\\0' ' ' < ${folder}/cmdline 2>/dev/null || true`], {
        encoding: 'utf8',
      })
      const parent = Number(folder.slice('/proc/'.length))
      if (holds.includes('keyturn-agent') && ownsSocket(parent, path)) process.kill(parent, 'SIGKILL')
    }
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
    dataOf(await run('unlock', ...passphrase))
    expect(await refusalToSign()).toBeUndefined()
  })

  it('does not trust a folder that is open to others, or a link', async () => {
    mkdirSync(join(runtime, 'keyturn'))
    rmSync(join(runtime, 'keyturn'), { recursive: true })
    mkdirSync(join(root, 'elsewhere'), { recursive: true, mode: 0o700 })
    execFileSync('ln', ['-s', join(root, 'elsewhere'), join(runtime, 'keyturn')])
    expect(codeOf(await run('unlock', ...passphrase))).toBe('CLI_AGENT')
    expect(readdirSync(join(root, 'elsewhere'))).toEqual([])
    rmSync(join(runtime, 'keyturn'))
    dataOf(await run('unlock', ...passphrase))
    chmodSync(join(runtime, 'keyturn'), 0o755)
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
    expect(codeOf(await run('unlock', ...passphrase))).toBe('CLI_AGENT')
    chmodSync(join(runtime, 'keyturn'), 0o700)
  })

  it.skipIf(!isRoot)('refuses another user, who can neither reach the socket nor plant one (needs root)', async () => {
    dataOf(await run('unlock', ...passphrase))
    const script = `const socket = require('net').connect(${JSON.stringify(socket())})
      socket.on('error', ({ code }) => { console.log(code); process.exit() })
      socket.on('connect', () => { console.log('connected'); process.exit() })`
    const answer = execFileSync('/usr/bin/env', ['node', '-e', script], { uid: NOBODY, gid: NOBODY, encoding: 'utf8' })
    expect(answer.trim()).toBe('EACCES')
    await run('lock')
    chownSync(join(runtime, 'keyturn'), NOBODY, NOBODY)
    expect(codeOf(await run('unlock', ...passphrase))).toBe('CLI_AGENT')
    expect(await refusalToSign()).toBe('CLI_NO_TERMINAL')
  })
})

/** Whether a process listens on a socket, by the kernel's tables. */
function ownsSocket(pid: number, path: string): boolean {
  const table = execFileSync('sh', ['-c', `grep -F ${path} /proc/net/unix | awk '{print $7}'`], { encoding: 'utf8' })
  const inode = table.trim()
  const open = execFileSync('sh', ['-c', `ls -l /proc/${pid}/fd 2>/dev/null || true`], { encoding: 'utf8' })
  return inode !== '' && open.includes(`socket:[${inode}]`)
}
