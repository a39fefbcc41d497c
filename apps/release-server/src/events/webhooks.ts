import { timestamp } from '../time.ts'
import { createHmac } from 'node:crypto'
import { base64Decode, base64Encode, base64urlEncode, KeyturnError } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import type { Delivery } from '../audit/deliveries.ts'
import { ServerError } from '../errors.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import type { StoredSecrets, WebhookSecrets } from './webhook-secrets.ts'

/** A webhook as shown: everything but its secrets. */
export interface WebhookView {
  readonly id: string
  readonly url: string
  /** Actions that are told, such as `channel.publish`; empty: all. */
  readonly events: readonly string[]
  readonly created_at: string
}

interface StoredWebhook extends WebhookView, StoredSecrets {}

/** Pauses between attempts, as Standard Webhooks recommends. */
const pausesMs = [5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000]
const answerWithinMs = 15_000
const claimMs = 60_000
const pollMs = 1000

/**
 * Signs a delivery as Standard Webhooks says: HMAC-SHA-256 over id, time and body, one signature per secret so that a
 * secret can be turned without a gap.
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
  url: string,
  events: readonly string[],
  caller: Caller,
): Promise<{ webhook: WebhookView; secret: string }> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') || parsed.username !== '') {
    throw new ServerError('SRV_REQUEST', 'Cannot use this webhook address: http or https without a user name is due')
  }
  const id = base64urlEncode(context.random(12))
  const secret = `whsec_${base64Encode(context.random(32))}`
  const webhook: WebhookView = { id, url, events: [...events], created_at: timestamp(context.clock()) }
  const stored = await secrets.write(id, [secret])
  await context.metadata.transaction([auditLock], async (records) => {
    await records.put('webhooks', { key: id, value: { ...webhook, ...stored } as unknown as JsonObject })
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'webhook.create',
      target: id,
      facts: { host: parsed.host },
    })
  })
  return { webhook, secret }
}

async function readWebhook(records: RecordReader, id: string): Promise<StoredWebhook> {
  const stored = (await records.get('webhooks', id))?.value as unknown as StoredWebhook | undefined
  if (stored === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such webhook')
  return stored
}

/** Adds a second secret; the older one goes with the next turn. */
export async function turnWebhookSecret(
  context: ServerContext,
  secrets: WebhookSecrets,
  id: string,
  caller: Caller,
): Promise<{ secret: string }> {
  const secret = `whsec_${base64Encode(context.random(32))}`
  // The vault has a lock of its own, so it goes first; should we die after it, the secret known outside still signs.
  const sealed = secrets.sealing ? await secrets.turn(id, await readWebhook(context.metadata, id), secret) : undefined
  await context.metadata.transaction([auditLock], async (records) => {
    const stored = await readWebhook(records, id)
    const { secrets: _clear, sealed: _sealed, ...view } = stored
    await records.put('webhooks', {
      key: id,
      value: { ...view, ...(sealed ?? (await secrets.turn(id, stored, secret))) } as unknown as JsonObject,
    })
    await appendAudit(records, context.clock(), { ...caller, action: 'webhook.turn', target: id })
  })
  return { secret }
}

/** All webhooks. */
export async function listWebhooks(context: ServerContext): Promise<WebhookView[]> {
  const records = await context.metadata.list('webhooks')
  return records.map(({ value }) => {
    const { secrets: _hidden, sealed: _sealed, ...view } = value as unknown as StoredWebhook
    return view
  })
}

/** Removes a webhook and what waits for it. */
export async function deleteWebhook(
  context: ServerContext,
  secrets: WebhookSecrets,
  id: string,
  caller: Caller,
): Promise<void> {
  await context.metadata.transaction([auditLock], async (records) => {
    if ((await records.get('webhooks', id)) === undefined)
      throw new ServerError('SRV_NOT_FOUND', 'There is no such webhook')
    await records.delete('webhooks', id)
    await appendAudit(records, context.clock(), { ...caller, action: 'webhook.delete', target: id })
  })
  await secrets.remove(id)
}

/** Sends what waits, from any replica; each delivery is claimed first, so that two do not send it at once. */
export class WebhookSender {
  readonly #context: ServerContext
  readonly #secrets: WebhookSecrets
  readonly #fetch: typeof fetch
  #timer: NodeJS.Timeout | undefined
  #running: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(context: ServerContext, secrets: WebhookSecrets, send: typeof fetch = fetch) {
    this.#context = context
    this.#secrets = secrets
    this.#fetch = send
  }

  /** Begins to look for deliveries every second. */
  start(): void {
    this.#timer = setInterval(() => {
      this.#running = this.#running
        .then(() => this.flush())
        .catch((error: unknown) => this.#context.log.warn({ err: String(error) }, 'webhooks could not be sent'))
    }, pollMs).unref()
  }

  /** Sends everything that is due. */
  async flush(): Promise<void> {
    const now = this.#context.clock()
    const waiting = await this.#context.metadata.list('deliveries', { limit: 10_000 })
    for (const { key, value } of waiting) {
      const { next_ms: next } = value as unknown as Delivery
      if (next > now || this.#closed) continue
      const claimed = await this.#claim(key, now)
      if (claimed !== undefined) await this.#settle(key, claimed, await this.#send(key, claimed))
    }
  }

  /** Stops, after what is being sent. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#running
  }

  #claim(key: string, now: number): Promise<Delivery | undefined> {
    return this.#context.metadata.transaction([`delivery:${key}`], async (records) => {
      const fresh = (await records.get('deliveries', key))?.value as unknown as Delivery | undefined
      if (fresh === undefined || fresh.next_ms > now) return undefined
      await records.put('deliveries', { key, value: { ...fresh, next_ms: now + claimMs } as unknown as JsonObject })
      return fresh
    })
  }

  async #send(id: string, delivery: Delivery): Promise<'done' | 'again' | 'gone'> {
    const webhook = (await this.#context.metadata.get('webhooks', delivery.webhook))?.value as unknown as
      | StoredWebhook
      | undefined
    if (webhook === undefined) return 'gone'
    const seconds = Math.floor(this.#context.clock() / 1000)
    try {
      const secrets = await this.#secrets.read(delivery.webhook, webhook)
      const answer = await this.#fetch(webhook.url, {
        method: 'POST',
        redirect: 'manual',
        body: delivery.body,
        signal: AbortSignal.timeout(answerWithinMs),
        headers: {
          'content-type': 'application/json',
          'user-agent': 'keyturn-webhooks/1',
          ...webhookHeaders(secrets, id, seconds, delivery.body),
        },
      })
      await answer.body?.cancel()
      return answer.ok ? 'done' : answer.status === 410 ? 'gone' : 'again'
    } catch (error) {
      if (error instanceof KeyturnError)
        this.#context.log.warn({ code: error.code, webhook: delivery.webhook }, 'a webhook cannot be signed')
      return 'again'
    }
  }

  async #settle(key: string, delivery: Delivery, outcome: 'done' | 'again' | 'gone'): Promise<void> {
    const pause = pausesMs[delivery.attempt]
    await this.#context.metadata.transaction([`delivery:${key}`], async (records) => {
      if (outcome !== 'again') return records.delete('deliveries', key)
      if (pause === undefined) {
        // The last attempt failed: kept for a look, out of the queue.
        await records.delete('deliveries', key)
        return records.put('dead-deliveries', { key, value: delivery as unknown as JsonObject })
      }
      const next: Delivery = { ...delivery, attempt: delivery.attempt + 1, next_ms: this.#context.clock() + pause }
      return records.put('deliveries', { key, value: next as unknown as JsonObject })
    })
  }
}
