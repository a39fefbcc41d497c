import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '@keyturn/cli'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import type { FileSystem } from '@keyturn/primitives/node'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'

/** Passphrase of every keystore in a committed state. Its keys were created for it and protect nothing. */
const PASSPHRASE = 'a state that was published'

/** A publisher's home, a release server and installs in one folder, with a clock of their own. */
export class World {
  readonly folder: string
  readonly product = 'game'
  url = ''
  #nowMs: number
  #server: ReleaseServer | undefined

  private constructor(folder: string, nowMs: number) {
    this.folder = folder
    this.#nowMs = nowMs
  }

  /**
   * @param folder - Where `home`, `server` and the installs are, or will be.
   * @param nowMs - The time it starts at.
   */
  static async open(folder: string, nowMs: number): Promise<World> {
    const world = new World(folder, nowMs)
    await mkdir(world.path('notes'), { recursive: true, mode: 0o700 })
    await writeFile(world.path('notes/passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 })
    return world
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** The clock that everything here uses. */
  readonly clock = (): number => this.#nowMs

  pass(ms: number): void {
    this.#nowMs += ms
  }

  async startServer(): Promise<void> {
    const server = await createReleaseServer({
      dataDir: this.path('server'),
      clock: this.clock,
      drainMs: 1000,
      vault: { passphrase: PASSPHRASE },
      rates: { managementPerMinute: 100_000, publicPerMinute: 100_000 },
    })
    this.#server = server
    this.url = (await server.listen()).url
    const { secret } = await server.createToken({ name: 'publisher', scopes: ['admin'], days: 30 })
    await writeFile(this.path('notes/token'), secret, { mode: 0o600 })
  }

  async stopServer(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  /**
   * Runs one command of `keyturn` in this process, at the time of this world.
   *
   * @throws Error when its exit code is not 0.
   */
  async keyturn(...argv: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    let stdout = ''
    const globals = ['--json', '--yes', '--home', this.path('home'), '--passphrase-file', this.path('notes/passphrase')]
    const exit = await run([...argv, ...globals], {
      stdout: {
        write: (text: string) => {
          stdout += text
          return true
        },
      },
      stderr: { write: () => true },
      env: {},
      clock: this.clock,
      signal: new AbortController().signal,
    })
    if (exit !== 0) throw new Error(`keyturn ${argv.join(' ')} ended with ${exit}: ${stdout}`)
    return (JSON.parse(stdout) as { data: Readonly<Record<string, unknown>> }).data
  }

  /** As {@link World.keyturn}, for commands that talk to the server. */
  async keyturnOnline(...argv: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    return await this.keyturn(...argv, '--server', this.url, '--token-file', this.path('notes/token'))
  }

  /** Packs `source`, signs and publishes it as the next release. */
  async release(name: string): Promise<void> {
    await this.keyturn('pack', 'tree', '--input', this.path('source'), '--output', this.path('trees', name))
    await this.keyturn('release', 'prepare', this.path('trees', name))
    await this.keyturn('release', 'sign')
    await this.publishHead()
  }

  async publishHead(): Promise<void> {
    await this.keyturn('release', 'head')
    await this.keyturnOnline('release', 'publish')
  }

  /** A launcher for one of the installs. */
  engine(name: string, trust: string, fs?: FileSystem): Engine {
    return createEngine({
      folder: this.path(name),
      server: `${this.url}/`,
      trust,
      product: this.product,
      fs,
      clock: this.clock,
      logFile: false,
      program: ['/bin/sh', this.path(name, 'client.sh')],
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    })
  }

  async source(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(this.path('source', path), '..'), { recursive: true })
      await writeFile(this.path('source', path), content)
    }
  }
}
