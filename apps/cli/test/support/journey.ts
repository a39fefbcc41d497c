import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { ReleaseServerClient } from '@keyturn/release-client'
import { keyturn } from './keyturn.ts'
import { MAIN, SERVER, TEST_ENVIRONMENT } from './program.ts'

const PASSPHRASE = 'a passphrase of the studio'
const DAY_MS = 86_400_000

/** The options that load them. Memory is measured with what passphrases really take. */
function preloads(preload: Preload | undefined): string {
  const cheap = preload === 'memory' ? [] : ['cheap-passphrase']
  return [...cheap, ...(preload === undefined ? [] : [preload])]
    .map((name) => `--import=${new URL(`${name}.mjs`, import.meta.url).href}`)
    .join(' ')
}

/** What a command answered with `--json`. */
export interface Envelope {
  readonly ok: boolean
  readonly data?: Record<string, unknown>
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string }
}

/** What is loaded into every program before it starts: a clock that can be moved, or a measure of its memory. */
type Preload = 'clock' | 'memory'

/** Where a command runs. */
export interface At {
  /** A home other than `home`. */
  readonly home?: string
  /** Folder it runs in; default: that of the game. */
  readonly cwd?: string
  readonly token?: string
}

/** A server that runs as a process of its own. */
export interface RunningServer {
  readonly url: string
  readonly token: string
  readonly client: ReleaseServerClient
  stop(): Promise<void>
}

/** An empty folder in which real programs do what people do, one after the other. */
export class Journey {
  readonly folder: string
  #servers: RunningServer[] = []
  #server: RunningServer | undefined
  readonly #preload: Preload | undefined

  private constructor(folder: string, preload: Preload | undefined) {
    this.folder = folder
    this.#preload = preload
  }

  static async begin({ preload }: { readonly preload?: Preload | undefined } = {}): Promise<Journey> {
    const journey = new Journey(await mkdtemp(join(tmpdir(), 'keyturn-journey-')), preload)
    if (preload !== undefined) await writeFile(journey.path(preload), '0')
    await mkdir(journey.path('game'))
    await writeFile(journey.path('passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 })
    return journey
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** The server that commands speak to. */
  get server(): RunningServer {
    if (this.#server === undefined) throw new TypeError('No server runs')
    return this.#server
  }

  /** Moves the clock of every program, also of those that run. Needs the preload `clock`. */
  async later(days: number): Promise<void> {
    const file = this.path('clock')
    await writeFile(file, String(Number(await readFile(file, 'utf8')) + days * DAY_MS))
  }

  /** Most bytes of memory that the program which ended last ever had. Needs the preload `memory`. */
  async peakMemory(): Promise<number> {
    return Number(await readFile(this.path('memory'), 'utf8'))
  }

  /** What a program of this journey finds in its environment. */
  environment(home = 'home'): Record<string, string> {
    const preload = this.#preload
    return {
      HOME: this.folder,
      KEYTURN_HOME: this.path(home),
      KEYTURN_PASSPHRASE_FILE: this.path('passphrase'),
      NODE_OPTIONS: preloads(preload),
      ...(preload === undefined ? {} : { KEYTURN_TEST_PRELOAD: this.path(preload) }),
    }
  }

  async #run(args: readonly string[], { home, cwd = this.path('game'), token }: At): Promise<Envelope> {
    const outcome = await keyturn([...args, '--json', '--yes'], {
      cwd,
      env: {
        ...this.environment(home),
        ...(this.#server === undefined ? {} : { KEYTURN_TOKEN: token ?? this.#server.token }),
      },
    })
    if (outcome.stdout === '') throw new Error(`No answer to ${args.join(' ')}: ${outcome.stderr}`)
    return JSON.parse(outcome.stdout) as Envelope
  }

  /** Runs `keyturn`, which has to succeed. */
  async keyturn(args: readonly string[], at: At = {}): Promise<Record<string, unknown>> {
    const { ok, data, error } = await this.#run(args, at)
    if (!ok || data === undefined) throw new Error(`keyturn ${args.join(' ')}: ${JSON.stringify(error)}`)
    return data
  }

  /** What `keyturn` answers, right or wrong. */
  async answer(args: readonly string[], at: At = {}): Promise<Envelope> {
    return await this.#run(args, at)
  }

  /** The code with which `keyturn` refuses. */
  async refusal(args: readonly string[], at: At = {}): Promise<string> {
    const { ok, error } = await this.#run(args, at)
    return ok ? 'it succeeded' : (error?.code ?? '')
  }

  /**
   * A studio on its first morning: a home, a server that the home knows, and a project.
   *
   * @param project - Members of `keyturn.json` beside `schema` and `source`.
   */
  async open(project: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.keyturn(['init', '--product', 'my-game'])
    const { url } = await this.serve('server')
    const file = this.path('home/home.json')
    const home = JSON.parse(await readFile(file, 'utf8')) as object
    await writeFile(file, JSON.stringify({ ...home, server: url }))
    await writeFile(this.path('game/keyturn.json'), JSON.stringify({ schema: 1, source: 'client', ...project }))
  }

  /** Files of the client as it is built. */
  async build(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const file = this.path('game/client', path)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, content, path.endsWith('.sh') ? { mode: 0o755 } : {})
    }
  }

  /**
   * Starts `keyturn serve`; from now on commands speak to it.
   *
   * @param data - Folder of its storage.
   * @param flags - More flags.
   * @param port - That of a server before; default: any.
   */
  async serve(data: string, flags: readonly string[] = [], port = '0'): Promise<RunningServer> {
    const args = [MAIN, 'serve', '--json', '--port', port, '--data', this.path(data), ...flags]
    const child = spawn(process.execPath, args, {
      env: { PATH: process.env['PATH'] ?? '', ...TEST_ENVIRONMENT, ...this.environment() },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { data: facts = {} } = JSON.parse(await firstLine(child)) as Envelope
    const url = String(facts['url'])
    const token = (await readFile(String(facts['token_file']), 'utf8')).trim()
    const server: RunningServer = {
      url,
      token,
      client: new ReleaseServerClient(url, { token }),
      stop: () => stopped(child),
    }
    this.#servers.push(server)
    this.#server = server
    return server
  }

  /** Runs `keyturn-server` on the storage of a server, as its operator does. Resolves to what it prints. */
  async operate(data: string, ...args: string[]): Promise<string> {
    const env = { ...process.env, ...TEST_ENVIRONMENT, NODE_OPTIONS: preloads(this.#preload) }
    const child = spawn(process.execPath, [SERVER, ...args, '--data', this.path(data)], { env })
    let [text, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
    child.stderr.setEncoding('utf8').on('data', (part: string) => (errors += part))
    const code = await new Promise((resolve) => child.once('close', resolve))
    if (code !== 0) throw new Error(`keyturn-server ${args.join(' ')}: ${text}${errors}`)
    return text
  }

  /** A player updates, or installs: what is for Linux, unless flags name another `--target`. */
  async update(player: string, ...flags: string[]): Promise<Record<string, unknown>> {
    const isNew = (await readdir(this.path(player)).catch(() => [])).length === 0
    const trust = isNew ? String((await this.keyturn(['release', 'trust']))['pin']) : ''
    const target = flags.includes('--target') ? [] : ['--target', 'linux']
    const first = isNew ? ['--server', this.server.url, '--trust', trust, ...target] : []
    const args = ['update', '--dir', this.path(player), ...first, ...flags]
    return await this.keyturn(args, { cwd: this.folder, home: 'no-home' })
  }

  /** What a player has on disk, by path. */
  async disk(player: string): Promise<Record<string, string>> {
    const root = this.path(player)
    const found: Record<string, string> = {}
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name)
      const path = relative(root, file)
      if (entry.isFile() && !path.startsWith('.updates')) found[path] = (await readFile(file)).toString('latin1')
    }
    return found
  }

  /** Copies a folder of the journey. */
  async copy(from: string, to: string): Promise<void> {
    await cp(this.path(from), this.path(to), { recursive: true })
  }

  async end(): Promise<void> {
    for (const server of this.#servers) await server.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let [text, errors] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      text += part
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
    child.stderr?.setEncoding('utf8').on('data', (part: string) => {
      errors += part
    })
    child.once('close', (code) => reject(new Error(`The server ended with ${code}: ${text}${errors}`)))
  })
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise((resolve) => {
    child.once('close', resolve)
    child.kill('SIGTERM')
  })
}
