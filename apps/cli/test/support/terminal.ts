import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { MAIN } from './program.ts'

const run = promisify(execFile)
/** Looked at this often, up to that long: a loaded machine is slow, never wrong. */
const LOOK_MS = 100
const PATIENCE_MS = 120_000

/** Whether a program can be started; says so once when it cannot. */
export function isInstalled(program: string, what: string): boolean {
  const isThere = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
  if (!isThere) console.info(`${program} is not installed: ${what}`)
  return isThere
}

/** Text without colours. */
function plain(text: string): string {
  return text.replaceAll(/\u001b\[[0-9;]*m/g, '')
}

/** A real terminal of 80 columns and 24 lines, in a folder of its own. */
export class Terminal {
  readonly folder: string
  readonly #socket: string

  private constructor(folder: string) {
    this.folder = folder
    this.#socket = basename(folder)
  }

  static async open(): Promise<Terminal> {
    return new Terminal(await mkdtemp(join(tmpdir(), 'keyturn-terminal-')))
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** Runs a line of bash that may call `keyturn`; {@link exitCode} gets its code. */
  async run(line: string): Promise<void> {
    const script = `keyturn() { "${process.execPath}" --no-warnings "${MAIN}" "$@"; }; ${line}; echo $? > "${this.path('code')}"; sleep 600`
    await this.#start('bash', '-c', script)
  }

  /** Starts a program in the terminal: a shell, for instance. */
  async start(...command: string[]): Promise<void> {
    await this.#start(...command)
  }

  async #start(...command: string[]): Promise<void> {
    await this.#tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-x',
      '80',
      '-y',
      '24',
      '-e',
      `HOME=${this.folder}`,
      '-c',
      this.folder,
      ...command,
    )
  }

  /** Presses keys, by their tmux names. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys)
  }

  /** Types text as it stands. */
  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', '--', text)
  }

  /** The screen, colours as escapes, once `pattern` is on it; the pattern sees no escapes. */
  async screen(pattern: RegExp): Promise<string> {
    return await this.#wait(
      () => this.#tmux('capture-pane', '-p', '-e'),
      (text) => pattern.test(plain(text)),
      pattern.source,
    )
  }

  /** The exit code of the line that was run, once it has ended. */
  async exitCode(): Promise<number> {
    return Number(
      await this.#wait(
        () => readFile(this.path('code'), 'utf8').catch(() => ''),
        (text) => text.endsWith('\n'),
        'its end',
      ),
    )
  }

  async close(): Promise<void> {
    await this.#tmux('kill-server').catch(() => undefined)
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #wait(look: () => Promise<string>, holds: (text: string) => boolean, what: string): Promise<string> {
    for (let waited = 0; waited < PATIENCE_MS; waited += LOOK_MS) {
      const text = await look()
      if (holds(text)) return text
      await sleep(LOOK_MS)
    }
    throw new Error(`Waited in vain for ${what}:\n${await this.#tmux('capture-pane', '-p')}`)
  }

  async #tmux(...args: string[]): Promise<string> {
    return (await run('tmux', ['-L', this.#socket, ...args])).stdout
  }
}
