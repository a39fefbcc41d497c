import { createHmac } from 'node:crypto'
import { base64Decode, base64Encode, base64urlEncode, isRecord, KeyturnError, OneAtATime } from '@keyturn/primitives'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import { deadDeliveries, deliveries, queueDeliveries } from '../audit/deliveries.ts'
import type { Delivery } from '../audit/deliveries.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { timestamp } from '../time.ts'
import { checkReceiver, postEvent } from './post-event.ts'
import { viewOf, webhooks } from './webhook-secrets.ts'
import type { StoredWebhook, WebhookSecrets, WebhookView } from './webhook-secrets.ts'

/** Pauses between attempts, as Standard Webhooks recommends. */
const PAUSES_MS = [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000]
const ANSWER_WITHIN_MS = 15_000
const CLAIM_MS = 60_000
const POLL_MS = 1000

/**
 * Signs a delivery as Standard Webhooks says: HMAC-SHA-256 over id, time and body, one signature per secret so that a
 * secret can be rotated without a gap.
 *
 * @param secrets - `whsec_<base64>`.
 */
export function webhookHeaders(
  secrets: readonly string[],
  id: string,
  seconds: number,
  body: string,
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const key = base64Decode(secret.replace(/^whsec_/, ''))
    return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`
  })
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signatures.join(' ') }
}

/** Creates a webhook; the secret is shown this once. */
export async function createWebhook(
  context: ServerContext,
  secrets: WebhookSecrets,
  { url, events }: Pick<WebhookView, 'url' | 'events'>,
  caller: Caller,
): Promise<{ webhook: WebhookView; secret: string }> {
  const { host } = checkReceiver(url)
  const id = base64urlEncode(context.random(12))
  const secret = `whsec_${base64Encode(context.random(32))}`
  const created_at = timestamp(context.clock())
  const webhook: WebhookView = { id, url, events: [...events], created_at, paused: false, last: null }
  const stored = await secrets.write(id, [secret])
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    await webhooks.put(records, { key: id, value: { ...webhook, ...stored } })
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'webhook.create',
      target: id,
      facts: { host },
    })
  })
  return { webhook, secret }
}

async function readWebhook(records: RecordReader, id: string): Promise<StoredWebhook> {
  const stored = await webhooks.get(records, id)
  if (stored === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such webhook')
  return stored
}

/** Adds a second secret; the older one is dropped by the next rotation. */
export async function rotateWebhookSecret(
  context: ServerContext,
  secrets: WebhookSecrets,
  id: string,
  caller: Caller,
): Promise<{ secret: string }> {
  const secret = `whsec_${base64Encode(context.random(32))}`
  // The vault has a lock of its own, so it goes first; if we die after it, the secret known outside still signs.
  const sealed = secrets.sealing ? await secrets.rotate(id, await readWebhook(context.metadata, id), secret) : undefined
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    const stored = await readWebhook(records, id)
    await webhooks.put(records, {
      key: id,
      value: { ...viewOf(stored), ...(sealed ?? (await secrets.rotate(id, stored, secret))) },
    })
    await appendAudit(records, context.clock(), { ...caller, action: 'webhook.turn', target: id })
  })
  return { secret }
}

/** All webhooks. */
export async function listWebhooks(context: ServerContext): Promise<WebhookView[]> {
  return (await webhooks.all(context.metadata)).map(({ value }) => viewOf(value))
}

/**
 * Pauses a webhook or lets it go on. What happens while it is paused is not sent later.
 *
 * @throws ServerError `SRV_NOT_FOUND`.
 */
export async function pauseWebhook(
  context: ServerContext,
  id: string,
  paused: boolean,
  caller: Caller,
): Promise<WebhookView> {
  return await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    const stored = await readWebhook(records, id)
    const next = { ...stored, paused }
    if (stored.paused === paused) return viewOf(stored)
    await webhooks.put(records, { key: id, value: next })
    await appendAudit(records, context.clock(), {
      ...caller,
      action: paused ? 'webhook.pause' : 'webhook.resume',
      target: id,
    })
    return viewOf(next)
  })
}

/**
 * Queues a test event for one webhook; what became of it is its `last`.
 *
 * @throws ServerError `SRV_NOT_FOUND`, `SRV_CONFLICT` while it is paused.
 */
export async function pingWebhook(context: ServerContext, id: string): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    if ((await readWebhook(records, id)).paused)
      throw new ServerError('SRV_CONFLICT', 'Cannot send a test event: this webhook is paused')
    await queueDeliveries(records, context.clock(), { type: 'webhook.test', data: { id }, only: id })
  })
}

/** Removes a webhook and what waits for it. */
export async function deleteWebhook(
  context: ServerContext,
  secrets: WebhookSecrets,
  id: string,
  caller: Caller,
): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    await readWebhook(records, id)
    await webhooks.delete(records, id)
    await appendAudit(records, context.clock(), { ...caller, action: 'webhook.delete', target: id })
  })
  await secrets.remove(id)
}

/** What became of one attempt; the status is null without an answer, undefined when nothing was sent. */
interface Sent {
  readonly outcome: 'done' | 'again' | 'gone'
  readonly status: number | null | undefined
}

/** Sends waiting deliveries, from any replica; each is claimed first, so that two replicas do not send it at once. */
export class WebhookSender {
  readonly #context: ServerContext
  readonly #secrets: WebhookSecrets
  #timer: NodeJS.Timeout | undefined
  readonly #queue = new OneAtATime()
  #closed = false

  constructor(context: ServerContext, secrets: WebhookSecrets) {
    this.#context = context
    this.#secrets = secrets
  }

  /** Starts to look for deliveries every second. */
  start(): void {
    this.#timer = setInterval(() => {
      this.#queue
        .run(() => this.flush())
        .catch((error: unknown) => this.#context.log.warn({ err: String(error) }, 'webhooks could not be sent'))
    }, POLL_MS).unref()
  }

  /** Sends everything that is due. */
  async flush(): Promise<void> {
    const now = this.#context.clock()
    for (const { key, value } of await deliveries.all(this.#context.metadata)) {
      if (value.next_ms > now || this.#closed) continue
      const claimed = await this.#claim(key, now)
      if (claimed === undefined) continue
      const sent = await this.#send(key, claimed)
      await this.#settle(key, claimed, sent)
      await this.#note(claimed, sent)
    }
  }

  /** Stops, after what is being sent. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#queue.idle()
  }

  #claim(key: string, now: number): Promise<Delivery | undefined> {
    return this.#context.metadata.transaction([`delivery:${key}`], async (records) => {
      const fresh = await deliveries.get(records, key)
      if (fresh === undefined || fresh.next_ms > now) return undefined
      await deliveries.put(records, { key, value: { ...fresh, next_ms: now + CLAIM_MS } })
      return fresh
    })
  }

  async #send(id: string, delivery: Delivery): Promise<Sent> {
    const webhook = await webhooks.get(this.#context.metadata, delivery.webhook)
    if (webhook === undefined || webhook.paused) return { outcome: 'gone', status: undefined }
    const seconds = Math.floor(this.#context.clock() / 1000)
    try {
      const secrets = await this.#secrets.read(delivery.webhook, webhook)
      const status = await postEvent(webhook.url, {
        body: delivery.body,
        withinMs: ANSWER_WITHIN_MS,
        headers: {
          'content-type': 'application/json',
          'user-agent': 'keyturn-webhooks/1',
          ...webhookHeaders(secrets, id, seconds, delivery.body),
        },
      })
      return { outcome: status >= 200 && status < 300 ? 'done' : status === 410 ? 'gone' : 'again', status }
    } catch (error) {
      if (error instanceof KeyturnError)
        this.#context.log.warn({ code: error.code, webhook: delivery.webhook }, 'a webhook cannot be signed or sent')
      return { outcome: 'again', status: null }
    }
  }

  /** Notes with the webhook what became of the attempt, unless none was made. */
  async #note({ webhook: id, body }: Delivery, { outcome, status }: Sent): Promise<void> {
    if (status === undefined) return
    const event: unknown = JSON.parse(body)
    const type = isRecord(event) && typeof event['type'] === 'string' ? event['type'] : ''
    const at = timestamp(this.#context.clock())
    await this.#context.metadata.transaction([AUDIT_LOCK], async (records) => {
      const stored = await webhooks.get(records, id)
      if (stored === undefined) return
      const last = { at, type, ok: outcome === 'done', status }
      await webhooks.put(records, { key: id, value: { ...stored, last } })
    })
  }

  async #settle(key: string, delivery: Delivery, { outcome }: Sent): Promise<void> {
    const pause = PAUSES_MS[delivery.attempt]
    await this.#context.metadata.transaction([`delivery:${key}`], async (records) => {
      if (outcome !== 'again') return deliveries.delete(records, key)
      if (pause === undefined) {
        // The last attempt failed: kept, outside the queue, so that somebody can look at it.
        await deliveries.delete(records, key)
        return deadDeliveries.put(records, { key, value: delivery })
      }
      const next: Delivery = { ...delivery, attempt: delivery.attempt + 1, next_ms: this.#context.clock() + pause }
      return deliveries.put(records, { key, value: next })
    })
  }
}
