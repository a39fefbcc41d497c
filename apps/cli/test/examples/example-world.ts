import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { writePck } from '../../../../packages/m2pack-format/test/support/legacy-writer.ts'
import { createHome } from '@keyturn/publisher/keys'
import { TEST_ENVIRONMENT } from '../support/program.ts'
import { putKeyturn } from '../support/shell.ts'

/** How long an example may take on a busy machine. */
const TIMEOUT_MS = 600_000

/** What an example printed and how it ended. */
export interface ShellOutcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder in which every example can run: home, server with releases, source tree, release tree, installed client. */
export class ExampleWorld {
  readonly folder: string
  url = ''
  #server: ReleaseServer | undefined

  private constructor(folder: string) {
    this.folder = folder
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** Everything that commands are made for, built once by the commands themselves. */
  static async build(): Promise<ExampleWorld> {
    const world = new ExampleWorld(await mkdtemp(join(tmpdir(), 'keyturn-examples-')))
    await world.#writeFiles()
    const passphrase = new TextEncoder().encode('test')
    await createHome({
      folder: world.path('home'),
      product: 'test',
      channel: 'stable',
      passphrase,
      nextPassphrase: passphrase,
      rolesDays: 365,
      clock: Date.now,
      scryptLogN: 4,
    })
    await world.start()
    const { secret } = await (world.#server as ReleaseServer).createToken({
      name: 'examples',
      scopes: ['admin'],
      days: 1,
    })
    await writeFile(world.path('token.txt'), `${secret}\n`, { mode: 0o600 })
    const description = await readFile(world.path('home', 'home.json'), 'utf8')
    await writeFile(
      world.path('home', 'home.json'),
      description.replace('"channel"', `"server": "${world.url}",\n  "channel"`),
      { mode: 0o600 },
    )
    const outcome = await world.run(FIRST_STEPS)
    if (outcome.code !== 0)
      throw new Error(`The world of the examples cannot be made: ${outcome.stdout}${outcome.stderr}`)
    await world.stop()
    return world
  }

  /** A copy of its own for one example; only its server listens elsewhere. */
  async copy(): Promise<ExampleWorld> {
    const copy = new ExampleWorld(await mkdtemp(join(tmpdir(), 'keyturn-example-')))
    await cp(this.folder, copy.folder, { recursive: true })
    await copy.start()
    for (const file of ['home/home.json', 'client/.updates/settings.json']) {
      const text = await readFile(copy.path(file), 'utf8').catch(() => undefined)
      if (text !== undefined)
        await writeFile(copy.path(file), text.replaceAll(this.url, copy.url).replaceAll(this.folder, copy.folder), {
          mode: 0o600,
        })
    }
    for (const version of await readdir(copy.path('home', 'releases', 'stable'))) {
      const file = copy.path('home', 'releases', 'stable', version, 'record.json')
      const text = await readFile(file, 'utf8').catch(() => undefined)
      if (text !== undefined) await writeFile(file, text.replaceAll(this.folder, copy.folder))
    }
    return copy
  }

  async start(): Promise<void> {
    this.#server = await createReleaseServer({
      dataDir: this.path('server'),
      drainMs: 100,
      vault: { passphrase: 'test', scryptLogN: 4 },
      rates: { managementPerMinute: 10_000, publicPerMinute: 10_000 },
    })
    this.url = (await this.#server.listen()).url
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  async remove(): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  /**
   * Runs lines of shell with `keyturn` on the PATH.
   *
   * @param script - What to run.
   * @param options - `until`, for a command that goes on: once this was printed it gets Ctrl-C; another shell.
   */
  run(
    script: string,
    { until, shell = 'bash' }: { until?: RegExp | undefined; shell?: string | undefined } = {},
  ): Promise<ShellOutcome> {
    const child = spawn(shell, [...(shell === 'bash' ? ['-eo', 'pipefail'] : []), '-c', script], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      detached: true,
      env: {
        PATH: `${this.path('bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
        HOME: this.folder,
        TMPDIR: this.folder,
        ...TEST_ENVIRONMENT,
        KEYTURN_HOME: this.path('home'),
        KEYTURN_PASSPHRASE_FILE: this.path('passphrase.txt'),
        KEYTURN_TOKEN_FILE: this.path('token.txt'),
        TOKEN: 'a deploy token',
        GIT_AUTHOR_NAME: 'a',
        GIT_AUTHOR_EMAIL: 'a@example.org',
        GIT_COMMITTER_NAME: 'a',
        GIT_COMMITTER_EMAIL: 'a@example.org',
      },
    })
    let stdout = ''
    let stderr = ''
    let stopped = false
    const look = (): void => {
      if (until === undefined || stopped || !until.test(stdout + stderr)) return
      stopped = true
      process.kill(-(child.pid as number), 'SIGINT')
    }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      look()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
      look()
    })
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, stdout, stderr }))
    })
  }

  async #writeFiles(): Promise<void> {
    await putKeyturn(this.folder)
    await writeFile(this.path('passphrase.txt'), 'test\n', { mode: 0o600 })
    for (const top of ['data', 'sound']) {
      await mkdir(this.path('source', top), { recursive: true })
      for (let n = 0; n < 3; n += 1) await writeFile(this.path('source', top, `${n}.txt`), `${top} ${n}\n`.repeat(200))
    }
    await writeFile(this.path('source', 'client.sh'), '#!/bin/sh\necho "runs with key $M2PACK_KEY_ID"\n', {
      mode: 0o755,
    })
    await mkdir(this.path('media', 'stick'), { recursive: true })
    await mkdir(this.path('media', 'usb'))
    await mkdir(this.path('pack'))
    await writeFile(
      this.path('pack', 'root.pck'),
      writePck([{ name: 'd:/ymir work/a.txt', content: Buffer.from('a'), encrypted: false }], 'xchacha20'),
    )
    await writeFile(this.path('notes.md'), 'News\n')
    await writeFile(this.path('setup.exe'), 'a program\n')
    await writeFile(this.path('seed.hex'), `${'07'.repeat(32)}\n`, { mode: 0o600 })
    await writeFile(this.path('next.txt'), 'test\n', { mode: 0o600 })
  }
}

/**
 * From keys to three published releases, a fourth that is signed, and an install; also key files and an archive of
 * them.
 */
const FIRST_STEPS = `
keyturn pack tree --input source --output tree --level 1
for version in 2026.11.01-1 2026.11.20-1 2026.11.21-1; do
  keyturn release prepare tree --release "$version"
  keyturn release sign
  keyturn release offer "$version"
  keyturn release publish
done
keyturn update --dir client --server "$(sed -n 's/.*"server": "\\(.*\\)".*/\\1/p' home/home.json)" --trust "$(keyturn release trust --quiet)"
keyturn release prepare tree --release 2026.11.21-2
keyturn release sign
keyturn pack keygen --out-dir keys
keyturn pack build --input source/data --output pack/data.m2p --level 1 --key keys/master.key --sign-secret-key keys/signing.key
keyturn noise publish
keyturn vault init
printf x | keyturn vault seal ci deploy-token
printf x | keyturn vault seal ci old-token
keyturn vault audit checkpoint --output media/stick/checkpoint.json
`
