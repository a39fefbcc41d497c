/**
 * Makes the pictures of the documentation in `docs/pictures` from the programs themselves: a recording of a terminal,
 * and screenshots that the browser tests take.
 *
 *     node pictures.ts [terminal] [launcher] [dashboard]
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '../checks/workspace.ts'
import { terminalPicture } from './terminal-picture.ts'
import type { Scene } from './terminal-picture.ts'

const folder = join(root, 'docs/pictures')
const wanted = process.argv.slice(2)
const isWanted = (name: string): boolean => wanted.length === 0 || wanted.includes(name)

/** What a reader types; `--yes` answers the questions, and the passphrase comes from a file. */
const COMMANDS = [
  'keyturn init --server http://127.0.0.1:8470',
  'keyturn project init --source client',
  'keyturn ship',
  'keyturn update --dir game --server http://127.0.0.1:8470 --trust "$PIN"',
  'keyturn rotate content',
  'keyturn status',
]

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => {
    server.once('listening', resolve)
  })
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** A client with a program, some data, and a settings file. */
function writeClient(place: string): void {
  mkdirSync(join(place, 'data'), { recursive: true })
  for (let number = 1; number <= 40; number++)
    writeFileSync(join(place, 'data', `map-${number}.bin`), randomBytes(200_000))
  writeFileSync(join(place, 'play.sh'), '#!/bin/sh\necho playing\n')
  chmodSync(join(place, 'play.sh'), 0o755)
}

async function recordTerminal(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'keyturn-pictures-'))
  const port = await freePort()
  writeFileSync(join(home, 'passphrase'), 'correct horse battery staple\n', { mode: 0o600 })
  writeClient(join(home, 'client'))
  const env = {
    PATH: `${join(root, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`,
    HOME: home,
    NODE_NO_WARNINGS: '1',
    KEYTURN_PASSPHRASE_FILE: join(home, 'passphrase'),
  }
  const bash = (command: string): string => {
    const script = command.replaceAll('8470', String(port)).replace(/^keyturn /, 'keyturn --yes ')
    const { status, stdout } = spawnSync('bash', ['-c', `exec 2>&1; ${script}`], { cwd: home, env, encoding: 'utf8' })
    if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stdout}`)
    return stdout
  }
  const asRead = (text: string): string[] =>
    text.replaceAll(String(port), '8470').replaceAll(home, '~').trimEnd().split('\n')
  const scenes: Scene[] = []
  let server: ReturnType<typeof spawn> | undefined
  try {
    for (const command of COMMANDS) {
      const output = bash(command.replace('"$PIN"', '"$(keyturn release trust --quiet)"'))
      scenes.push({ command, output: asRead(output) })
      if (server === undefined) {
        server = spawn('keyturn', ['serve', '--port', String(port)], { cwd: home, env, stdio: 'ignore' })
        await answered(`http://127.0.0.1:${port}/healthz`)
      }
    }
  } finally {
    server?.kill()
    rmSync(home, { recursive: true, force: true })
  }
  const title = 'Keys are made, a release is shipped and installed, a key is rotated'
  writeFileSync(join(folder, 'first-minute.svg'), terminalPicture(title, scenes))
}

async function answered(address: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const response = await fetch(address).catch(() => undefined)
    if (response?.ok === true) return
    await wait(100)
  }
  throw new Error(`${address} does not answer`)
}

/** Runs one file of browser tests, and keeps some of the pictures it takes. */
function fromTests(member: string, test: string, pictures: Readonly<Record<string, string>>): void {
  const shots = mkdtempSync(join(tmpdir(), 'keyturn-pictures-'))
  try {
    const { status } = spawnSync('vitest', ['run', test], {
      cwd: join(root, member),
      stdio: 'inherit',
      env: { ...process.env, KEYTURN_SCREENSHOTS: shots },
    })
    if (status !== 0) throw new Error(`${member}/${test} failed`)
    for (const [name, picture] of Object.entries(pictures))
      copyFileSync(join(shots, `${name}.png`), join(folder, picture))
  } finally {
    rmSync(shots, { recursive: true, force: true })
  }
}

mkdirSync(folder, { recursive: true })
if (isWanted('terminal')) await recordTerminal()
if (isWanted('launcher'))
  fromTests('apps/launcher-daemon', 'test/screens.test.ts', { 'updating-en-960-light': 'launcher.png' })
if (isWanted('dashboard'))
  fromTests('apps/release-server', 'test/dashboard.test.ts', { 'server-dashboard': 'dashboard.png' })
