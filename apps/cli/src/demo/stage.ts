import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createEngine } from '@keyturn/install-engine'
import type { Engine, EngineEvent, Fetch, UpdateResult } from '@keyturn/install-engine'
import { startDaemon } from '@keyturn/launcher-daemon'
import type { ReleaseServer } from '@keyturn/release-server'
import { loadServer } from '../server-package.ts'
import { ReleaseServerClient } from '@keyturn/release-client'
import { Ask } from '../ask.ts'
import type { Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { playToEnd } from '../played.ts'
import type { Progress } from '@keyturn/publisher'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { createHome } from '@keyturn/publisher/keys'
import type { CreatedHome } from '@keyturn/publisher/keys'
import { findRelease } from '@keyturn/publisher/records'
import { hashFile, listTree, trustPin } from '@keyturn/publisher/release'

/**
 * Changes an answer on its way to the launcher; undefined leaves it alone. The path has no leading slash, the body is
 * undefined when the server has none.
 */
export type Tamper = (path: string, body: Uint8Array | undefined) => Uint8Array | undefined

/** What the sample client said, and how it ended. */
export interface ClientReport {
  readonly ok: boolean
  readonly keyId: number
  readonly archives: number
  readonly files: number
  readonly bytes: number
  readonly code: string
  /** No server could be asked. */
  readonly offline: boolean
  readonly exit: number | null
}

/** How often a folder is tried that something still writes to; each pause is 0.1 s longer, all of them 2.8 s. */
const REMOVE_RETRIES = 7
const REMOVE_RETRY_MS = 100

/** Product and channel of the demonstration. */
export const demoNames = { product: 'demo', channel: 'stable' } as const

/** Everything on the stage: a publisher's home, a server, an install, and the wire between them. */
export class Stage {
  readonly folder: string
  readonly #context: Context
  #tamper: Tamper | undefined
  #server: ReleaseServer | undefined
  #home: HomeSession | undefined
  #engine: Engine | undefined
  /** Address of the release server. */
  url = ''
  /** Its publisher's token, for the dashboard's login. */
  tokenFile = ''
  #client: ReleaseServerClient | undefined
  #progress: Progress | undefined

  /**
   * @param context - The command.
   * @param folder - Where everything happens.
   */
  constructor(context: Context, folder: string) {
    this.#context = context
    this.folder = folder
  }

  /** A folder or file below the stage. */
  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }

  get home(): HomeSession {
    return required(this.#home)
  }

  get client(): ReleaseServerClient {
    return required(this.#client)
  }

  get engine(): Engine {
    return required(this.#engine)
  }

  /** Creates and opens the publisher's home under a passphrase of its own. */
  async openHome(): Promise<CreatedHome> {
    const passphraseFile = this.path('passphrase')
    const passphrase = randomBytes(24).toString('base64url')
    await writeFile(passphraseFile, `${passphrase}\n`, { mode: 0o600, flag: 'wx' })
    const homeFolder = this.path('home')
    const bytes = new TextEncoder().encode(passphrase)
    const created = await createHome({
      folder: homeFolder,
      ...demoNames,
      passphrase: bytes,
      nextPassphrase: bytes,
      rolesDays: 365,
      clock: this.#context.clock,
    })
    const ask = new Ask({ passphraseFile, passphraseFd: undefined, yes: true, signal: this.signal })
    const context: Context = {
      ...this.#context,
      homeFolder,
      ask,
      passphrase: (label, question) => ask.passphrase(label, question),
    }
    this.#home = await openHome(context, { write: true })
    return created
  }

  /** Starts the release server, on a free port the first time, embedded storage, and gives the publisher a token. */
  async startServer(): Promise<void> {
    const { createReleaseServer } = await loadServer()
    const server = await createReleaseServer({
      dataDir: this.path('server'),
      port: this.url === '' ? 0 : Number(new URL(this.url).port),
      rates: { publicPerMinute: 100_000, managementPerMinute: 100_000 },
      drainMs: 1000,
    })
    this.#server = server
    this.#context.defer(() => this.stopServer())
    this.url = (await server.listen()).url
    const { secret } = await server.createToken({ name: 'publisher', scopes: ['admin'], days: 1 })
    this.#client = new ReleaseServerClient(this.url, { token: secret })
    this.tokenFile = this.path('publisher.token')
    await writeFile(this.tokenFile, `${secret}\n`, { mode: 0o600 })
  }

  /** Stops it; a second call does nothing. */
  async stopServer(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  /** Makes the launcher's engine for a new install. */
  openInstall(trust: string): void {
    this.#engine = createEngine({
      folder: this.path('client'),
      server: `${this.url}/`,
      trust,
      channel: demoNames.channel,
      product: demoNames.product,
      program: this.#program(),
      fetch: this.#fetch,
      clock: this.#context.clock,
      retry: { tries: 2, firstPauseMs: 50, longestPauseMs: 500 },
      onEvent: (event) => this.#onEvent(event),
    })
  }

  /**
   * Starts the long-running launcher on the install, with its page.
   *
   * @returns An address that opens the page once.
   */
  async openPage(): Promise<string> {
    const daemon = await startDaemon({
      folder: this.path('client'),
      settings: { server: `${this.url}/`, trust: await trustPin(this.home), ...demoNames, program: this.#program() },
    })
    this.#context.defer(() => daemon.close())
    return daemon.pageAddress()
  }

  #program(): string[] {
    return [process.execPath, sampleClient(), '--dir', this.path('client')]
  }

  /** Updates the install, with a progress bar. */
  async update(label: string): Promise<UpdateResult> {
    this.#progress = this.#context.out.progress(label)
    try {
      return await this.engine.update({ signal: this.signal })
    } finally {
      this.#progress.end()
      this.#progress = undefined
    }
  }

  /**
   * Starts the sample client as the launcher does, and waits for its line.
   *
   * @param asksServer - Whether an update is looked for first.
   */
  async play(asksServer: boolean): Promise<ClientReport> {
    const { signal } = this
    const { exit, text, offline } = await playToEnd(this.engine, this.path('client.out'), {
      update: asksServer,
      signal,
    })
    const line = JSON.parse(text) as Partial<Record<string, unknown>>
    return {
      ok: line['ok'] === true,
      exit,
      offline,
      code: String(line['code'] ?? ''),
      keyId: Number(line['key_id']),
      archives: Number(line['archives']),
      files: Number(line['files']),
      bytes: Number(line['bytes']),
    }
  }

  /** What the install consists of: a hash of every path and content, the launcher's own files left out. */
  async installHash(): Promise<string> {
    const parts: string[] = []
    for (const file of await listTree(this.path('client')))
      parts.push(`${file.path} ${await hashFile(file, this.signal)}`)
    return parts.join('\n')
  }

  /** Runs something while the wire lies. */
  async tampered<T>(tamper: Tamper, action: () => Promise<T>): Promise<T> {
    this.#tamper = tamper
    try {
      return await action()
    } finally {
      this.#tamper = undefined
    }
  }

  readonly #fetch: Fetch = async (url, init) => {
    const answer = await fetch(url, init)
    const tamper = this.#tamper
    if (tamper === undefined) return answer
    const body = answer.ok ? new Uint8Array(await answer.arrayBuffer()) : undefined
    const changed = tamper(new URL(url).pathname.slice(1), body) ?? body
    if (changed === undefined) return answer
    const headers = new Headers(answer.headers)
    headers.delete('etag')
    headers.set('content-length', String(changed.length))
    return new Response(Buffer.from(changed), { status: answer.ok ? answer.status : 200, headers })
  }

  #onEvent(event: EngineEvent): void {
    if (event.type === 'progress')
      this.#progress?.update(event.progress.downloadedBytes, event.progress.downloadTotalBytes)
  }

  /** A folder below the stage that is there. */
  async ensure(...parts: string[]): Promise<string> {
    const folder = this.path(...parts)
    await mkdir(folder, { recursive: true })
    return folder
  }
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('The demonstration uses what it has not set up yet')
  return value
}

/** The program of the sample client: beside this one, or in the checkout. */
export function sampleClient(): string {
  for (const place of ['../sample-client.js', '../../../../tooling/sample-client/src/main.ts']) {
    const path = fileURLToPath(new URL(place, import.meta.url))
    if (existsSync(path)) return path
  }
  throw new CliError('CLI_PATH_UNKNOWN', 'The sample client is not built', { hint: 'Run the build' })
}

/** Tree of the release in force: what the next one is built upon. */
export async function currentTree(stage: Stage): Promise<string> {
  return (await findRelease(stage.home.paths, demoNames.channel)).tree
}

/**
 * Removes everything a demonstration or a drill made. What its programs still write while they end, and what a virus
 * scanner holds open, is waited for.
 */
export async function clearStage(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: REMOVE_RETRIES, retryDelay: REMOVE_RETRY_MS })
}
