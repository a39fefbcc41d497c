import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Supervisor } from './supervisor.ts'

/** At most ten progress events a second. */
const SHORTEST_GAP_MS = 100
const KEEP_ALIVE_MS = 15_000
/** More open pages than this are turned away. */
const MAX_STREAMS = 16

/** Server-sent events: state changes as they come, progress at most ten times a second. */
export class EventStream {
  readonly #responses = new Set<ServerResponse>()
  readonly #supervisor: Supervisor
  readonly #stopListening: () => void
  #progress: string | undefined
  #timer: NodeJS.Timeout | undefined
  readonly #keepAlive: NodeJS.Timeout

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor
    this.#stopListening = supervisor.listen((event) => {
      if (event.type === 'progress') this.#later(JSON.stringify(event.progress))
      else if (event.type !== 'file') void this.#sendStatus()
      if (event.type === 'notice') this.#send('notice', JSON.stringify({ code: event.code, message: event.message }))
    })
    this.#keepAlive = setInterval(() => this.#write(': still here\n\n'), KEEP_ALIVE_MS)
    this.#keepAlive.unref()
  }

  #later(progress: string): void {
    this.#progress = progress
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.#progress !== undefined) this.#send('progress', this.#progress)
      this.#progress = undefined
    }, SHORTEST_GAP_MS)
  }

  #sending: Promise<void> | undefined
  #again = false

  /** Status once more; several changes at a time become one. */
  async #sendStatus(): Promise<void> {
    if (this.#responses.size === 0) return
    if (this.#sending !== undefined) {
      this.#again = true
      return
    }
    this.#sending = this.#statusNow()
    await this.#sending
    this.#sending = undefined
    if (!this.#again) return
    this.#again = false
    await this.#sendStatus()
  }

  async #statusNow(): Promise<void> {
    try {
      this.#send('status', JSON.stringify(await this.#supervisor.snapshot()))
    } catch {
      // the install cannot be read just now; the next change sends it again
    }
  }

  #send(name: string, data: string): void {
    this.#write(`event: ${name}\ndata: ${data}\n\n`)
  }

  #write(text: string): void {
    for (const response of this.#responses) response.write(text)
  }

  /** Adds a listener and sends it the present state at once. */
  async add(
    request: IncomingMessage,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
  ): Promise<void> {
    if (this.#responses.size >= MAX_STREAMS) {
      response.writeHead(503, headers)
      response.end()
      return
    }
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' })
    this.#responses.add(response)
    request.on('close', () => {
      this.#responses.delete(response)
      this.#supervisor.watched(this.#responses.size)
    })
    this.#supervisor.watched(this.#responses.size)
    response.write(`event: status\ndata: ${JSON.stringify(await this.#supervisor.snapshot())}\n\n`)
  }

  /** Pages that listen now. */
  get size(): number {
    return this.#responses.size
  }

  /**
   * Ends every stream.
   *
   * @param isReplaced - A newer launcher starts, with a window of its own.
   */
  close(isReplaced = false): void {
    if (isReplaced) this.#send('replaced', '{}')
    clearInterval(this.#keepAlive)
    clearTimeout(this.#timer)
    this.#stopListening()
    for (const response of this.#responses) response.end()
    this.#responses.clear()
  }
}
