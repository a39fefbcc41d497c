import type { FastifyReply, FastifyRequest } from 'fastify'
import { maySee } from '../access/actor.ts'
import type { Actor } from '../access/actor.ts'
import { auditEntries, auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { actorOf } from '../http/route.ts'

/** How often a stream shows that it lives, and that its reader still may read. */
const HEARTBEAT_MS = 15_000
/** A reader that lets more than this pile up is cut off; it comes back with Last-Event-ID. */
const MAX_UNREAD_BYTES = 1024 * 1024
const MAX_STREAMS = 1000
const MAX_STREAMS_OF_ACTOR = 50

/** The part of an audit entry that readers of events get. */
export interface ServerEvent {
  readonly type: string
  readonly at: string
  readonly target: string
  readonly actor: string
  readonly sequence: number
}

/** What an event stream checks with. */
export interface EventStreamParts {
  /** Tells again who makes a request; rejects once the token or session has ended. */
  readonly authenticate: (request: FastifyRequest) => Promise<Actor>
  /** Calls `work` again and again; returns a function that ends it. Default: every 15 seconds. */
  readonly every?: ((work: () => void) => () => void) | undefined
}

/** One open stream. */
class EventStream {
  readonly reply: FastifyReply
  actor: Actor
  #last: number

  constructor(reply: FastifyReply, actor: Actor, after: number) {
    this.reply = reply
    this.actor = actor
    this.#last = after
  }

  send(event: ServerEvent): void {
    const { raw } = this.reply
    if (event.sequence <= this.#last || raw.writableEnded) return
    this.#last = event.sequence
    const [product = '', channel] = event.target.split('/')
    if (!maySee(this.actor, product, channel)) return
    raw.write(`id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    if (raw.writableLength > MAX_UNREAD_BYTES) raw.destroy()
  }

  end(): void {
    this.reply.raw.end()
  }
}

function everyHeartbeat(work: () => void): () => void {
  const timer = setInterval(work, HEARTBEAT_MS)
  return () => clearInterval(timer)
}

/** Streams of events that are open. Each ends with the token or session that opened it. */
export class EventStreams {
  readonly #context: ServerContext
  readonly #authenticate: EventStreamParts['authenticate']
  readonly #every: NonNullable<EventStreamParts['every']>
  readonly #open = new Set<EventStream>()

  constructor(context: ServerContext, { authenticate, every = everyHeartbeat }: EventStreamParts) {
    this.#context = context
    this.#authenticate = authenticate
    this.#every = every
  }

  /** Answers with server-sent events: first those after `Last-Event-ID`, then new ones as they happen. */
  async serve(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const actor = actorOf(request)
    this.#requireRoom(actor)
    const header = Number(request.headers['last-event-id'] ?? Number.NaN)
    const after = Number.isSafeInteger(header) ? header : undefined
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    raw.write(': open\n\n')
    const stream = new EventStream(reply, actor, after ?? 0)
    this.#open.add(stream)
    const held: ServerEvent[] = []
    let isReplaying = after !== undefined
    const unsubscribe = this.#context.metadata.subscribe((topic, text) => {
      if (topic !== 'event') return
      const event = JSON.parse(text) as ServerEvent
      if (isReplaying) held.push(event)
      else stream.send(event)
      // A revoked token ends its streams at once; whatever else ends one is noticed at the next heartbeat.
      if (event.type === 'token.revoke' && stream.actor.name === `token:${event.target}`) stream.end()
    })
    const stop = this.#every(() => void this.#beat(stream, request))
    raw.once('close', () => {
      unsubscribe()
      stop()
      this.#open.delete(stream)
    })
    if (after !== undefined) await this.#replay(after, stream)
    isReplaying = false
    for (const event of held) stream.send(event)
  }

  #requireRoom(actor: Actor): void {
    const own = [...this.#open].filter((stream) => stream.actor.name === actor.name).length
    if (own >= MAX_STREAMS_OF_ACTOR || this.#open.size >= MAX_STREAMS)
      throw new ServerError('SRV_RATE', 'Too many event streams are open', { details: { retryAfterS: 30 } })
  }

  async #beat(stream: EventStream, request: FastifyRequest): Promise<void> {
    try {
      stream.actor = await this.#authenticate(request)
      if (!stream.reply.raw.writableEnded) stream.reply.raw.write(': alive\n\n')
    } catch (error) {
      // A storage or issuer that does not answer at the moment proves nothing about the token.
      if (!(error instanceof ServerError) || error.code === 'SRV_UNAVAILABLE') return
      stream.end()
    }
  }

  async #replay(after: number, stream: EventStream): Promise<void> {
    for (const { value } of await auditEntries.list(this.#context.metadata, { after: auditKey(after), limit: 1000 })) {
      const { action: type, at, target, actor, sequence } = value
      stream.send({ type, at, target, actor, sequence })
    }
  }

  /** Ends all streams. */
  close(): void {
    for (const stream of this.#open) stream.end()
  }
}
