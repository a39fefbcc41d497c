import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { printable, SecretBytes } from '@keyturn/primitives'
import type { PassphraseQuestion } from '@keyturn/publisher'
import { CliError } from './errors.ts'
import { terminalText } from './output.ts'

/** Where passphrases and confirmations come from. */
export interface AskOptions {
  /** `--passphrase-file`, or undefined. */
  readonly passphraseFile: string | undefined
  /** `--passphrase-fd`, or undefined. */
  readonly passphraseFd: number | undefined
  /** `--yes`: confirmations are given beforehand. */
  readonly yes: boolean
  /** Stops a question that waits. */
  readonly signal: AbortSignal
  /** Called for a passphrase file that others can read. */
  readonly warn?: ((text: string) => void) | undefined
  /** Gives the passphrase of the home while it is unlocked; asked before a person is. */
  readonly fromAgent?: (() => Promise<Uint8Array | undefined>) | undefined
}

/** The label of the only passphrase that an agent may hold. */
const HOME_PASSPHRASE = 'Passphrase'

/** A question to a person. */
export interface AskQuestion extends PassphraseQuestion {
  /** False: an unlocked passphrase does not answer it. */
  readonly fromAgent?: boolean | undefined
}

/** The shortest new passphrase that a prompt accepts: it protects the identity. */
const MIN_PASSPHRASE_LENGTH = 8
const MAX_TRIES = 3

/** Asks for passphrases and confirmations: on the terminal, without echo, or from the files that flags name. */
export class Ask {
  readonly #options: AskOptions
  readonly #known = new Map<string, Uint8Array>()

  /** @param options - Flags of the command line. */
  constructor(options: AskOptions) {
    this.#options = options
  }

  /**
   * Gives a passphrase, asked for once per run and source.
   *
   * @param label - What it opens, shown in the prompt.
   * @param question - Whether it is new; another file to read it from.
   * @returns A copy; the caller wipes it.
   * @throws {@link CliError} `CLI_NO_TERMINAL`, `CLI_PASSPHRASE_REPEAT`, `CLI_PATH_UNKNOWN`.
   */
  async passphrase(label: string, question: AskQuestion = {}): Promise<Uint8Array> {
    const source = question.file ?? this.#options.passphraseFile ?? `fd or prompt: ${label}`
    const known = this.#known.get(source)
    if (known !== undefined) return known.slice()
    const fresh = await this.#read(label, question)
    this.#known.set(source, fresh)
    return fresh.slice()
  }

  /**
   * Asks for a passphrase that replaces another: never the one of `--passphrase-file`.
   *
   * @param label - What it will open.
   * @param file - Read from there instead of asked for.
   * @returns A copy; the caller wipes it.
   */
  async newPassphrase(label: string, file: string | undefined): Promise<Uint8Array> {
    return file === undefined ? await this.#ask(label, true) : await this.passphrase(label, { file })
  }

  /** As {@link passphrase}, in a holder that wipes itself on `dispose()`. */
  async secretPassphrase(label: string, question: PassphraseQuestion = {}): Promise<SecretBytes> {
    return SecretBytes.take(await this.passphrase(label, question))
  }

  /** Whether a flag or variable says where the passphrase is, so that nobody is asked for it. */
  get hasPassphrase(): boolean {
    return this.#options.passphraseFile !== undefined || this.#options.passphraseFd !== undefined
  }

  /** Whether `--yes` was given; then questions with a safe answer are not asked. */
  get agreed(): boolean {
    return this.#options.yes
  }

  /** Wipes every passphrase that was given. */
  forget(): void {
    for (const bytes of this.#known.values()) bytes.fill(0)
    this.#known.clear()
  }

  /**
   * Asks for confirmation before a change.
   *
   * @param question - Ends in a question mark.
   * @throws {@link CliError} `CLI_DECLINED`, `CLI_NO_TERMINAL`.
   */
  async confirm(question: string): Promise<void> {
    if (this.#options.yes) return
    const answer = await this.line(`${question} [y/N] `, 'Give --yes if that is what you want')
    if (!/^(y|yes)$/i.test(answer.trim())) throw new CliError('CLI_DECLINED', 'Not confirmed; nothing was changed')
  }

  /**
   * Asks for a word to be typed exactly, before something that cannot be undone.
   *
   * @param word - What has to be typed, `ROTATE` for instance.
   * @param question - Why.
   * @throws {@link CliError} `CLI_DECLINED`, `CLI_NO_TERMINAL`.
   */
  async typed(word: string, question: string): Promise<void> {
    if (this.#options.yes) return
    const answer = await this.line(`${question}\nType ${word} to go on: `, 'Give --yes if that is what you want')
    if (answer.trim() !== word) throw new CliError('CLI_DECLINED', `"${word}" was not typed; nothing was changed`)
  }

  /**
   * Asks for a line of text.
   *
   * @param hint - What answers without a terminal.
   * @throws {@link CliError} `CLI_NO_TERMINAL`.
   */
  async line(prompt: string, hint = 'Run it in a terminal, or see --help for the flag that answers'): Promise<string> {
    return new TextDecoder().decode(await readTerminal(prompt, { echo: true, hint, signal: this.#options.signal }))
  }

  async #warnIfShared(file: string): Promise<void> {
    if (process.platform === 'win32') return
    const stats = await stat(file)
    if (stats.isFile() && (stats.mode & 0o077) !== 0)
      this.#options.warn?.(`Others can read the passphrase in "${printable(file)}": chmod 600`)
  }

  async #read(label: string, question: AskQuestion): Promise<Uint8Array> {
    const file = question.file ?? this.#options.passphraseFile
    if (file !== undefined) {
      await this.#warnIfShared(file)
      return await firstLine(await readFile(file), `"${printable(file)}"`)
    }
    if (this.#options.passphraseFd !== undefined && question.file === undefined) {
      return await firstLine(await readDescriptor(this.#options.passphraseFd), 'the given descriptor')
    }
    const isHome = label === HOME_PASSPHRASE && question.fresh !== true && question.fromAgent !== false
    const held = isHome ? await this.#options.fromAgent?.() : undefined
    return held ?? (await this.#ask(label, question.fresh === true))
  }

  /** A new passphrase that is empty, short or not repeated the same is asked for again. */
  async #ask(label: string, isFresh: boolean): Promise<Uint8Array> {
    if (!isFresh) {
      const typed = await this.#askSilently(label)
      if (typed.length === 0) throw new CliError('CLI_PASSPHRASE_REPEAT', 'The passphrase is empty')
      return await firstLine(typed, 'the prompt')
    }
    for (let tries = 1; ; tries += 1) {
      const { passphrase, problem } = await this.#askTwice(label)
      if (passphrase !== undefined) return passphrase
      if (tries === MAX_TRIES) throw new CliError('CLI_PASSPHRASE_REPEAT', problem)
      process.stderr.write(`${problem}. Try again\n`)
    }
  }

  async #askSilently(label: string): Promise<Uint8Array> {
    const hint = 'Give --passphrase-file or --passphrase-fd'
    return await readTerminal(`${label}: `, { echo: false, hint, signal: this.#options.signal })
  }

  async #askTwice(label: string): Promise<{ readonly passphrase?: Uint8Array; readonly problem: string }> {
    const first = await this.#askSilently(label)
    const length = [...new TextDecoder().decode(first)].length
    if (length < MIN_PASSPHRASE_LENGTH) {
      first.fill(0)
      const short = `The passphrase has fewer than ${MIN_PASSPHRASE_LENGTH} characters`
      return { problem: length === 0 ? 'The passphrase is empty' : short }
    }
    const second = await this.#askSilently(`${label} again`)
    const same = Buffer.compare(first, second) === 0
    second.fill(0)
    if (same) return { passphrase: await firstLine(first, 'the prompt'), problem: '' }
    first.fill(0)
    return { problem: 'The two passphrases differ' }
  }
}

async function readDescriptor(fd: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of createReadStream('', { fd, autoClose: false })) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** A passphrase file holds the passphrase alone, on one line: the same rule as every reader of the packages. */
async function firstLine(bytes: Uint8Array, where: string): Promise<Uint8Array> {
  // Loaded when there is a passphrase.
  const { VaultError } = await import('@keyturn/vault-kdf')
  const { passphraseInput } = await import('@keyturn/vault-kdf/passphrase')
  try {
    return passphraseInput(bytes)
  } catch (cause) {
    if (!(cause instanceof VaultError)) throw cause
    throw new CliError('CLI_USAGE', `${cause.message}, in ${where}`, { cause, hint: cause.hint })
  } finally {
    bytes.fill(0)
  }
}

interface TerminalQuestion {
  readonly echo: boolean
  /** What answers without a terminal. */
  readonly hint: string
  readonly signal: AbortSignal
}

/** Reads a line from the terminal. Without echo, each key is taken as it comes and never reaches the screen. */
async function readTerminal(prompt: string, { echo, hint, signal }: TerminalQuestion): Promise<Uint8Array> {
  if (!process.stdin.isTTY)
    throw new CliError('CLI_NO_TERMINAL', `Cannot ask "${prompt.trim()}": no terminal`, { hint })
  process.stderr.write(terminalText(prompt))
  return echo ? await readEchoed(signal) : await readSilent(signal)
}

async function readEchoed(signal: AbortSignal): Promise<Uint8Array> {
  const lines = createInterface({ input: process.stdin, terminal: false })
  try {
    return new TextEncoder().encode(await lines.question('', { signal }))
  } finally {
    lines.close()
  }
}

function readSilent(signal: AbortSignal): Promise<Uint8Array> {
  const { stdin } = process
  const typed: number[] = []
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      signal.removeEventListener('abort', onAbort)
      stdin.setRawMode(false)
      stdin.pause()
      process.stderr.write('\n')
      settle()
      typed.fill(0)
    }
    const stop = (): void => finish(() => reject(new CliError('CLI_INTERRUPTED', 'Stopped at the question')))
    const onAbort = stop
    const onData = (chunk: Buffer): void => {
      for (const byte of chunk) {
        if (byte === 0x03) return stop()
        if (byte === 0x0d || byte === 0x0a) return finish(() => resolve(new Uint8Array(typed)))
        if (byte === 0x7f || byte === 0x08) dropLastCharacter(typed)
        else if (byte === 0x15) typed.length = 0
        else typed.push(byte)
      }
      chunk.fill(0)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stdin.setRawMode(true)
    stdin.on('data', onData)
    stdin.resume()
  })
}

/** Removes one UTF-8 character: its continuation bytes, then its first. */
function dropLastCharacter(typed: number[]): void {
  while (typed.length > 0) {
    const byte = typed.pop() ?? 0
    if ((byte & 0xc0) !== 0x80) return
  }
}
