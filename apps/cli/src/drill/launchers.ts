import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type {
  DrillInstall,
  LauncherCheck,
  LauncherCommand,
  LauncherReport,
  LauncherStart,
  LauncherVisit,
} from './launcher-messages.ts'

/** More processes than this gain nothing on one machine: each then looks after several installs. */
const MAX_PROCESSES = 8

/** What players did and what became of it. */
export interface PlayCount {
  readonly plays: number
  /** What a player saw instead of the game, with the name of the launcher. */
  readonly problems: readonly string[]
}

/** The launchers of a drill: real installs in a folder, in processes of their own. */
export class Launchers {
  readonly count: number
  readonly #folder: string
  readonly #children: ChildProcess[] = []
  readonly #latest = new Map<string, LauncherCheck>()
  readonly #played = new Map<string, number>()
  readonly #problems: string[] = []
  readonly #visits: LauncherVisit[] = []
  readonly #refusals = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #checks = 0
  #visitId = 0
  #isStopping = false

  /**
   * @param folder - Where the installs are made.
   * @param count - How many.
   */
  constructor(folder: string, count: number) {
    this.#folder = folder
    this.count = count
  }

  /** Processes that look after them. */
  get processes(): number {
    return Math.min(this.count, MAX_PROCESSES)
  }

  /** Starts them; each begins with its first install. */
  async start(settings: Omit<LauncherStart, 'type' | 'installs'>): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    const installs = Array.from({ length: this.count }, (_, at): DrillInstall => {
      const name = `launcher-${String(at + 1).padStart(3, '0')}`
      return { name, folder: join(this.#folder, name) }
    })
    for (let at = 0; at < this.processes; at += 1) {
      const child = this.#fork()
      const own = installs.filter((_, index) => index % this.processes === at)
      child.send({ type: 'start', ...settings, installs: own } satisfies LauncherStart)
    }
  }

  #fork(): ChildProcess {
    const { SystemRoot } = process.env
    const child = fork(program(), [], {
      cwd: dirname(this.#folder),
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // Nothing of the environment is their business, tokens and proxies least of all.
      env: {
        NODE_NO_WARNINGS: '1',
        HOME: dirname(this.#folder),
        SystemRoot,
      },
    })
    this.#children.push(child)
    child.on('message', (message: LauncherReport) => this.#note(message))
    child.once('exit', (code, signal) => {
      if (!this.#isStopping) this.#problems.push(`a process of launchers ended: ${code ?? signal}`)
      this.#wake()
    })
    return child
  }

  #note(message: LauncherReport): void {
    if (message.type === 'check') {
      this.#checks += 1
      this.#latest.set(message.launcher, message)
      if (message.code !== '') this.#refusals.set(message.code, (this.#refusals.get(message.code) ?? 0) + 1)
    } else if (message.type === 'play') {
      this.#played.set(message.launcher, (this.#played.get(message.launcher) ?? 0) + 1)
      if (message.problem !== '') this.#problems.push(`${message.launcher}: ${message.problem}`)
    } else this.#visits.push(message)
    this.#wake()
  }

  #wake(): void {
    for (const look of this.#waiting) look()
  }

  /** Waits until something holds; false after the time, or when no launcher is left. */
  async #until(holds: () => boolean, { timeoutMs, signal }: WaitOptions): Promise<boolean> {
    if (holds()) return true
    return await new Promise<boolean>((resolve) => {
      const end = (answer: boolean): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        signal.removeEventListener('abort', give)
        resolve(answer)
      }
      const look = (): void => {
        if (holds()) end(true)
        else if (this.#children.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null))
          end(false)
      }
      const give = (): void => end(false)
      const timer = setTimeout(give, timeoutMs)
      signal.addEventListener('abort', give, { once: true })
      this.#waiting.add(look)
    })
  }

  /**
   * Waits until the last of them is where it should be.
   *
   * @param holds - Looked at with the newest look of each launcher.
   * @returns When the first and the last one were, and how many were not in time.
   */
  async all(holds: (check: LauncherCheck) => boolean, options: WaitOptions): Promise<Followed> {
    let firstMs: number | undefined
    const there = new Set<string>()
    const look = (): boolean => {
      for (const [name, check] of this.#latest) if (holds(check)) there.add(name)
      if (there.size > 0) firstMs ??= Date.now()
      return there.size === this.count
    }
    const isDone = await this.#until(look, options)
    return { firstMs, lastMs: isDone ? Date.now() : undefined, missing: this.count - there.size }
  }

  /** Waits until every player has started the game once more. */
  async playOnce(options: WaitOptions): Promise<boolean> {
    const before = new Map(this.#played)
    const names = [...this.#latest.keys()]
    return await this.#until(
      () => names.every((name) => (this.#played.get(name) ?? 0) > (before.get(name) ?? 0)),
      options,
    )
  }

  /** Leads every launcher to another server once. */
  async visit(server: string, options: WaitOptions): Promise<readonly LauncherVisit[]> {
    this.#visitId += 1
    const id = this.#visitId
    this.#send({ type: 'visit', id, server })
    const mine = (): LauncherVisit[] => this.#visits.filter((visit) => visit.id === id)
    await this.#until(() => mine().length === this.count, options)
    return mine()
  }

  #send(command: LauncherCommand): void {
    for (const child of this.#children) if (child.connected) child.send(command)
  }

  /** Looks for updates so far, and how many ended with each code. */
  get checks(): { readonly count: number; readonly refusals: Readonly<Record<string, number>> } {
    return { count: this.#checks, refusals: Object.fromEntries(this.#refusals) }
  }

  /** Starts of the client so far. */
  get plays(): PlayCount {
    return { plays: [...this.#played.values()].reduce((sum, n) => sum + n, 0), problems: [...this.#problems] }
  }

  /** Ends them all, after what they are doing. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#send({ type: 'stop' })
    await Promise.all(this.#children.map((child) => ended(child)))
  }
}

/** How long something is waited for. */
export interface WaitOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** When launchers were where they should be. */
export interface Followed {
  readonly firstMs: number | undefined
  /** Undefined when not all of them were in time. */
  readonly lastMs: number | undefined
  readonly missing: number
}

/** How long a launcher may take to finish what it is doing. */
const STOP_MS = 20_000

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    child.once('exit', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** The main file of these processes beside this one: compiled, or as source. */
function program(): string {
  const isSource = import.meta.url.endsWith('.ts')
  return fileURLToPath(new URL(isSource ? './launcher-main.ts' : './launcher-main.js', import.meta.url))
}
