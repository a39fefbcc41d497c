import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const hasTmux = spawnSync('tmux', ['-V']).status === 0
if (!hasTmux) console.info('tmux is not installed: the terminal is not tested')

let folder = ''
let socket = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-terminal-'))
  socket = basename(folder)
})
afterEach(async () => {
  await run('tmux', ['-L', socket, 'kill-server']).catch(() => undefined)
  await rm(folder, { recursive: true, force: true })
})

const tmux = async (...args: string[]): Promise<string> => (await run('tmux', ['-L', socket, ...args])).stdout

/** Starts a command line in a terminal of 80 columns; `code` gets its exit code. */
async function start(command: string): Promise<void> {
  const script = `keyturn() { "${process.execPath}" --no-warnings "${main}" "$@"; }; ${command}; echo $? > "${join(folder, 'code')}"; sleep 60`
  await tmux('-f', '/dev/null', 'new-session', '-d', '-x', '80', '-y', '24', '-c', folder, 'bash', '-c', script)
}

/** The screen, colours as escapes, once `pattern` is on it. */
async function screen(pattern: RegExp): Promise<string> {
  for (let tries = 0; tries < 300; tries += 1) {
    const text = await tmux('capture-pane', '-p', '-e')
    if (pattern.test(text)) return text
    await sleep(100)
  }
  throw new Error(`Never on the screen: ${pattern.source}\n${await tmux('capture-pane', '-p')}`)
}

async function exitCode(): Promise<number> {
  for (let tries = 0; tries < 300; tries += 1) {
    const text = await readFile(join(folder, 'code'), 'utf8').catch(() => '')
    if (text.endsWith('\n')) return Number(text)
    await sleep(100)
  }
  throw new Error('It did not end')
}

describe.skipIf(!hasTmux)('keyturn in a terminal', () => {
  it('asks for a passphrase twice without showing it, takes corrections, and refuses when the two differ', async () => {
    await start('keyturn init --home h')
    await screen(/New passphrase:/)
    await tmux('send-keys', 'sekretx', 'BSpace', 'Enter')
    await screen(/New passphrase again:/)
    await tmux('send-keys', 'sekret', 'Enter')
    const text = await screen(/pin for launchers/)
    expect(text).not.toContain('sekret')
    expect(await exitCode()).toBe(0)
  })

  it('says so when the two differ: exit 2', async () => {
    await start('keyturn init --home h')
    await screen(/New passphrase:/)
    await tmux('send-keys', 'one', 'Enter')
    await screen(/again:/)
    await tmux('send-keys', 'two', 'Enter')
    await screen(/CLI_PASSPHRASE_REPEAT/)
    expect(await exitCode()).toBe(2)
  })

  it('leaves at Ctrl-C in a question with exit 5, the terminal as it was', async () => {
    await start('keyturn init --home h')
    await screen(/New passphrase:/)
    await tmux('send-keys', 'abc', 'C-c')
    expect(await exitCode()).toBe(5)
    expect(await screen(/CLI_INTERRUPTED/)).not.toContain('abc')
  })

  it('asks before a change, and changes nothing when the answer is no: exit 1', async () => {
    await start('echo p > p; keyturn init --home h --passphrase-file p --quiet; clear; keyturn rotate content --home h --passphrase-file p')
    await screen(/Turn content key 1 to 2\? \[y\/N\]/)
    await tmux('send-keys', 'n', 'Enter')
    await screen(/CLI_DECLINED/)
    expect(await exitCode()).toBe(1)
    expect(await readFile(join(folder, 'h', 'home.json'), 'utf8')).not.toContain('"keyId": 2')
  })

  it('colours errors in a terminal, and not with --no-color or NO_COLOR', async () => {
    await start('unset NO_COLOR; keyturn explain NOPE; keyturn explain NOPE --no-color; NO_COLOR=1 keyturn explain NOPE; echo END')
    const text = await screen(/END/)
    expect(text.match(/\u001b\[31merror:/g)).toHaveLength(1)
    expect(text.match(/error:/g)).toHaveLength(3)
  })

  it('keeps help within 80 columns', async () => {
    await start('keyturn release prepare --help > help.txt; echo END')
    await screen(/END/)
    const lines = (await readFile(join(folder, 'help.txt'), 'utf8')).split('\n')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80)
  })
})
