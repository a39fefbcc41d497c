import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, cp, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { homePaths, openHome, readHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { createHome } from '@keyturn/publisher/keys'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServer } from '@keyturn/release-server'
import { Ask } from '../ask.ts'
import type { Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { loadServer } from '../server-package.ts'

/** What the shadow has in common with the home that it stands for. Keys are never among it. */
export interface ShadowNames {
  readonly product: string
  readonly channel: string
  /** Whether they are those of a real home. */
  readonly isFromHome: boolean
}

/** A command that the publisher typed. */
export interface TypedCommand {
  /** As it was typed. */
  readonly line: string
  readonly ms: number
  /** Code of its refusal; empty when it succeeded. */
  readonly code: string
}

/** Path of the next identity key, from where the publisher types. */
export const NEXT_KEY = '../stick/next.keystore'
/** Path of last night's backup. */
export const BACKUP = '../stick/night.backup'

/**
 * Product and channel of the home in use, which is only read; names of our own where there is none.
 *
 * @param homeFolder - May not exist.
 */
export async function shadowNames(homeFolder: string): Promise<ShadowNames> {
  if (!(await pathExists(homePaths(homeFolder).description)))
    return { product: 'shadow', channel: 'stable', isFromHome: false }
  const { product, channel } = await readHome(homeFolder)
  return { product, channel, isFromHome: true }
}

/**
 * A publisher in a folder of their own: fresh keys, a server on loopback, and commands that run as programs of their
 * own with nothing of the caller's environment. So nothing here can reach the real home or the real server.
 */
export class Shadow {
  readonly folder: string
  readonly names: ShadowNames
  readonly #context: Context
  readonly #typed: TypedCommand[] = []
  #server: ReleaseServer | undefined
  #token = { id: '', secret: '' }
  #stolenToken = ''
  #client = 0
  /** Address of the server. */
  url = ''

  constructor(context: Context, folder: string, names: ShadowNames) {
    this.#context = context
    this.folder = folder
    this.names = names
  }

  /** A file or folder below the sandbox. */
  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** What the publisher typed since the event. */
  get typed(): readonly TypedCommand[] {
    return this.#typed
  }

  /** Keys, with the next one on a medium of its own; a client of a few files; the server. */
  async prepare(): Promise<void> {
    for (const name of ['stick', 'game', 'server']) await mkdir(this.path(name), { mode: 0o700 })
    await this.startServer()
    const passphrase = randomBytes(24).toString('base64url')
    await writeFile(this.path('passphrase'), `${passphrase}\n`, { mode: 0o600, flag: 'wx' })
    const bytes = new TextEncoder().encode(passphrase)
    const { product, channel } = this.names
    await createHome({
      folder: this.path('home'),
      product,
      channel,
      server: this.url,
      passphrase: bytes.slice(),
      nextPassphrase: bytes,
      rolesDays: 365,
      clock: this.#context.clock,
    })
    await rename(homePaths(this.path('home')).nextIdentityKey, this.path('stick', 'next.keystore'))
    await writeFile(this.path('game', 'keyturn.json'), '{"schema": 1, "source": "client"}\n')
  }

  /** Changes the client a little, as the next day's work would. */
  async changeClient(): Promise<void> {
    this.#client += 1
    for (const folder of ['data', 'sound']) {
      await mkdir(this.path('game', 'client', folder), { recursive: true })
      for (let n = 0; n < 4; n += 1) {
        const text = n === 0 ? `${folder} ${this.#client}\n` : `${folder} ${n}\n`
        await writeFile(this.path('game', 'client', folder, `${n}.txt`), text.repeat(2000))
      }
    }
  }

  /** Starts the server, on the address it had before; its folder may be empty. */
  async startServer(): Promise<void> {
    const { createReleaseServer } = await loadServer()
    const server = await createReleaseServer({
      dataDir: this.path('server'),
      port: this.url === '' ? 0 : Number(new URL(this.url).port),
      rates: { publicPerMinute: 1_000_000, managementPerMinute: 1_000_000 },
      drainMs: 1000,
    })
    this.#server = server
    this.#context.defer(() => this.stopServer())
    this.url = (await server.listen()).url
    await this.#newToken()
  }

  async #newToken(): Promise<void> {
    const { token, secret } = await this.#running.createToken({ name: 'publisher', scopes: ['admin'], days: 1 })
    this.#token = { id: token.id, secret }
    await writeFile(this.path('publisher.token'), `${secret}\n`, { mode: 0o600 })
  }

  get #running(): ReleaseServer {
    if (this.#server === undefined) throw new TypeError('The server of the drill does not run')
    return this.#server
  }

  /** Stops it; a second call does nothing. */
  async stopServer(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  /** The disk of the server is gone. */
  async loseServer(): Promise<void> {
    await this.stopServer()
    await rm(this.path('server'), { recursive: true })
  }

  /** A new machine at the old address, empty, and a token for it. */
  async replaceServer(): Promise<void> {
    const started = performance.now()
    await mkdir(this.path('server'), { mode: 0o700 })
    await this.startServer()
    this.#note(`keyturn-server --port ${new URL(this.url).port} --data NEW-FOLDER`, started)
    this.#note('keyturn-server --data NEW-FOLDER token create --name publisher --scope admin', started)
  }

  /** What a thief of the keys has: the home as it is now. */
  async copyHome(to: string): Promise<void> {
    await cp(this.path('home'), this.path(to), { recursive: true })
    await chmod(this.path(to), 0o700)
  }

  /** The laptop is gone: a thief has all that is on it, and nobody else has. */
  async loseLaptop(to: string): Promise<void> {
    await rename(this.path('home'), this.path(to))
  }

  /** Revokes the publisher's token on the server's machine, and makes another one. */
  async replaceToken(): Promise<void> {
    const started = performance.now()
    const { id, secret } = this.#token
    this.#stolenToken = secret
    await this.#newToken()
    const answer = await this.#withToken(this.#token.secret, `/v1/tokens/${id}`, 'DELETE')
    if (!answer.ok) throw new CliError('CLI_DRILL', `The server did not revoke the token: ${answer.status}`)
    this.#note(`keyturn-server token revoke ${id}`, started)
    this.#note('keyturn-server token create --name publisher --scope admin', started)
  }

  /** With which code the server refuses the token that was stolen; empty when it does not. */
  async answerToThief(): Promise<string> {
    const answer = await this.#withToken(this.#stolenToken, '/v1/products', 'GET')
    return answer.ok ? '' : ((await answer.json()) as { code: string }).code
  }

  async #withToken(secret: string, path: string, method: string): Promise<Response> {
    return await fetch(`${this.url}${path}`, { method, headers: { authorization: `Bearer ${secret}` } })
  }

  /** Opens a home below the sandbox. The caller's `defer` closes it. */
  async open(folder: string): Promise<HomeSession> {
    const ask = new Ask({
      passphraseFile: this.path('passphrase'),
      passphraseFd: undefined,
      yes: true,
      signal: this.#context.signal,
    })
    const homeFolder = this.path(folder)
    return await openHome(
      { ...this.#context, homeFolder, passphrase: (label, question) => ask.passphrase(label, question) },
      { write: false },
    )
  }

  /** Writes down what the drill itself did in place of a command on the server's machine. */
  #note(line: string, started: number): void {
    this.#typed.push({ line, ms: Math.round(performance.now() - started), code: '' })
  }

  /**
   * Runs `keyturn` as the publisher does, and writes down what was typed.
   *
   * @param words - After `keyturn`.
   * @throws {@link CliError} `CLI_DRILL` when the command fails.
   */
  async type(...words: string[]): Promise<void> {
    const { code, ms } = await this.run(words)
    this.#typed.push({ line: `keyturn ${words.map((word) => quoted(word)).join(' ')}`, ms, code })
    if (code !== '') throw new CliError('CLI_DRILL', `"keyturn ${words.join(' ')}" ended with ${code}`)
  }

  /**
   * Runs `keyturn`.
   *
   * @param home - Another home below the sandbox.
   * @returns Code of its refusal, empty when it succeeded; and how long it took.
   */
  async run(words: readonly string[], home = 'home'): Promise<{ readonly code: string; readonly ms: number }> {
    const started = performance.now()
    const child = spawn(process.execPath, [program(), ...words, '--json', '--yes'], {
      cwd: this.path('game'),
      stdio: ['ignore', 'pipe', 'ignore'],
      signal: this.#context.signal,
      env: this.#environment(home),
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', () => resolve())
    })
    return { code: codeOf(text), ms: Math.round(performance.now() - started) }
  }

  #environment(home: string): Record<string, string> {
    const { PATH = '', SystemRoot } = process.env
    return {
      PATH,
      HOME: this.folder,
      XDG_DATA_HOME: this.path('.data'),
      XDG_CACHE_HOME: this.path('.cache'),
      XDG_RUNTIME_DIR: this.path('.run'),
      APPDATA: this.path('.data'),
      NODE_NO_WARNINGS: '1',
      KEYTURN_HOME: this.path(home),
      KEYTURN_PASSPHRASE_FILE: this.path('passphrase'),
      KEYTURN_TOKEN_FILE: this.path('publisher.token'),
      ...(SystemRoot === undefined ? {} : { SystemRoot }),
    }
  }
}

function codeOf(text: string): string {
  try {
    const answer = JSON.parse(text) as { ok?: boolean; error?: { code?: string } }
    return answer.ok === true ? '' : (answer.error?.code ?? 'no code')
  } catch {
    return 'no answer'
  }
}

function quoted(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word}'`
}

/** This program: compiled, or as source. */
function program(): string {
  const isSource = import.meta.url.endsWith('.ts')
  return join(dirname(fileURLToPath(import.meta.url)), '..', isSource ? 'main.ts' : 'main.js')
}
