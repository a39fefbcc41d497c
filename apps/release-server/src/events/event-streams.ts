import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuditEntry } from '@keyturn/release-client'
import { auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { maySee } from '../access/tokens.ts'
import { actorOf } from '../http/route.ts'

const heartbeatMs = 15_000
/** A reader that lets more than this pile up is cut off; it comes back with Last-Event-ID. */
const mostUnread = 1024 * 1024

/** What of an audit entry goes to readers of events. */
export interface ServerEvent {
  readonly type: string
  readonly at: string
  readonly target: string
  readonly actor: string
  readonly sequence: number
}

/** Streams of events that are open, so that closing the server can end them. */
export class EventStreams {
  readonly #context: ServerContext
  readonly #open = new Set<FastifyReply>()

  constructor(context: ServerContext) {
    this.#context = context
  }

  /** Answers with server-sent events: first what came after `Last-Event-ID`, then what happens. */
  async serve(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const actor = actorOf(request)
    const after = Number(request.headers['last-event-id'] ?? Number.NaN)
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    raw.write(': open\n\n')
    let last = Number.isSafeInteger(after) ? after : 0
    const send = (event: ServerEvent): void => {
      const [product = '', channel] = event.target.split('/')
      if (event.sequence <= last) return
      last = event.sequence
      if (!maySee(actor, product, channel)) return
      raw.write(`id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      if (raw.writableLength > mostUnread) raw.destroy()
    }
    this.#open.add(reply)
    const held: ServerEvent[] | undefined = Number.isSafeInteger(after) ? [] : undefined
    let replaying = held !== undefined
    const unsubscribe = this.#context.metadata.subscribe((topic, text) => {
      if (topic !== 'event') return
      const event = JSON.parse(text) as ServerEvent
      if (replaying) held?.push(event)
      else send(event)
    })
    const heartbeat = setInterval(() => raw.write(': alive\n\n'), heartbeatMs)
    raw.once('close', () => {
      unsubscribe()
      clearInterval(heartbeat)
      this.#open.delete(reply)
    })
    if (held !== undefined) await this.#replay(after, send)
    replaying = false
    for (const event of held ?? []) send(event)
  }

  async #replay(after: number, send: (event: ServerEvent) => void): Promise<void> {
    for (const { value } of await this.#context.metadata.list('audit', { after: auditKey(after), limit: 1000 })) {
      const { action, at, target, actor, sequence } = value as unknown as AuditEntry
      send({ type: action, at, target, actor, sequence })
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const reply of this.#open) reply.raw.end()
  }
}
