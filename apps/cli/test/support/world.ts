import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer, ReleaseServerOptions } from '@keyturn/release-server'
import { ReleaseServerClient } from '@keyturn/release-client'
import { Ask } from '../../src/ask.ts'
import type { Context } from '../../src/command.ts'
import { Output } from '../../src/output.ts'
import { activeContentKey, openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { createHome } from '@keyturn/publisher/keys'
import { writeRuntimeKeyFile } from '@keyturn/publisher/records'
import { issueHead, packTree, prepareRelease, publishRelease, signRelease, trustPin } from '@keyturn/publisher/release'
import type { StoredRelease } from '@keyturn/publisher/records'
import './cheap-passphrase.mjs'

/** A publisher, a server and a player in one folder, with a cheap passphrase. */
export class World {
  readonly folder: string
  readonly #cleanUps: (() => void | Promise<void>)[] = []
  #server: ReleaseServer | undefined
  url = ''
  /** Of the server: may do everything. */
  token = ''
  client: ReleaseServerClient | undefined
  readonly signal = new AbortController().signal

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), 'keyturn-world-')))
    const passphrase = new TextEncoder().encode('test')
    await writeFile(world.path('passphrase'), 'test\n', { mode: 0o600 })
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
    return world
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  context(): Context {
    const quiet = { json: false, events: false, quiet: true, color: false }
    const silent = { write: () => true }
    const ask = new Ask({
      passphraseFile: this.path('passphrase'),
      passphraseFd: undefined,
      yes: true,
      signal: this.signal,
    })
    return {
      name: 'test',
      out: new Output(quiet, silent, silent),
      signal: this.signal,
      dryRun: false,
      quiet: true,
      ask,
      passphrase: (label, question) => ask.passphrase(label, question),
      onStep: () => {},
      warn: () => {},
      homeFolder: this.path('home'),
      clock: Date.now,
      env: {},
      announce: () => {},
      defer: (cleanUp) => void this.#cleanUps.push(cleanUp),
    }
  }

  /** Opens the home as a new process would. */
  async home(): Promise<HomeSession> {
    return await openHome(this.context())
  }

  /** @param more - Other settings of the server. */
  async startServer(
    clock: () => number = Date.now,
    vault = false,
    more: Partial<ReleaseServerOptions> = {},
  ): Promise<ReleaseServerClient> {
    this.#server = await createReleaseServer({
      clock,
      ...(vault ? { vault: { passphrase: 'of the server', scryptLogN: 4 } } : {}),
      dataDir: this.path('server'),
      drainMs: 100,
      rates: { managementPerMinute: 10_000, publicPerMinute: 10_000 },
      ...more,
    })
    this.url = (await this.#server.listen()).url
    const { secret } = await this.#server.createToken({ name: 'test', scopes: ['admin'], days: 1 })
    this.token = secret
    this.client = new ReleaseServerClient(this.url, { token: secret, retries: 0 })
    return this.client
  }

  /** Starts the server and makes it that of the home; commands find its token in the environment. */
  async connect(...settings: Parameters<World['startServer']>): Promise<ReleaseServerClient> {
    const client = await this.startServer(...settings)
    this.useToken(this.token)
    await (await this.home()).update({ server: this.url })
    return client
  }

  /** Puts a token into the environment, where commands look for it, until the world is removed. */
  useToken(token: string): void {
    const before = process.env['KEYTURN_TOKEN']
    this.#cleanUps.push(() => {
      if (before === undefined) delete process.env['KEYTURN_TOKEN']
      else process.env['KEYTURN_TOKEN'] = before
    })
    process.env['KEYTURN_TOKEN'] = token
  }

  async stopServer(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  /** A source tree of a few files. */
  async source(change = ''): Promise<string> {
    for (const top of ['data', 'sound']) {
      await mkdir(this.path('source', top), { recursive: true })
      for (let n = 0; n < 4; n += 1)
        await writeFile(this.path('source', top, `${n}.txt`), `${top} ${n} ${change}\n`.repeat(200))
    }
    return this.path('source')
  }

  /** Packs, prepares, signs and, with a server, publishes. */
  async release(change = ''): Promise<StoredRelease> {
    const home = await this.home()
    const output = this.path('trees', `${Date.now()}-${Math.random()}`)
    await packTree(home, { input: await this.source(change), output, signal: this.signal, level: 1 })
    await writeRuntimeKeyFile(home, output, activeContentKey(home.description))
    const release = await signRelease(
      home,
      await prepareRelease(home, { tree: output, channel: 'stable', nowMs: Date.now(), signal: this.signal }),
    )
    const head = await issueHead(home, release, { nowMs: Date.now() })
    if (this.client !== undefined) await publishRelease(home, this.client, { release, head }, { signal: this.signal })
    return release
  }

  /** A launcher for a player's folder. */
  async engine(name = 'game'): Promise<Engine> {
    return createEngine({
      folder: this.path(name),
      server: `${this.url}/`,
      trust: await trustPin(await this.home()),
      product: 'test',
      channel: 'stable',
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    })
  }

  async remove(): Promise<void> {
    for (const cleanUp of this.#cleanUps.toReversed()) await cleanUp()
    await this.stopServer()
    await rm(this.folder, { recursive: true, force: true })
  }
}
