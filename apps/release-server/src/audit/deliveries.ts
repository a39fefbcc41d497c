import { timestamp } from '../time.ts'
import type { JsonObject } from '@keyturn/primitives'
import type { RecordWriter } from '../storage/metadata-store.ts'

/** An event on its way to a webhook. */
export interface Delivery {
  readonly webhook: string
  readonly body: string
  readonly attempt: number
  readonly next_ms: number
}

/** Puts a delivery in the queue of every webhook that wants it; part of the transaction that made the event. */
export async function queueDeliveries(
  records: RecordWriter,
  nowMs: number,
  type: string,
  data: JsonObject,
  only?: string,
): Promise<void> {
  const webhooks = await records.list('webhooks')
  for (const { key, value } of webhooks) {
    const { events } = value as unknown as { readonly events: readonly string[] }
    if (only === undefined ? events.length > 0 && !events.includes(type) : key !== only) continue
    const sequence = (((await records.get('counters', 'deliveries'))?.value as number | undefined) ?? 0) + 1
    await records.put('counters', { key: 'deliveries', value: sequence })
    const delivery: Delivery = {
      webhook: key,
      body: JSON.stringify({ type, timestamp: timestamp(nowMs), data }),
      attempt: 0,
      next_ms: nowMs,
    }
    await records.put('deliveries', {
      key: `msg_${String(sequence).padStart(12, '0')}`,
      value: delivery as unknown as JsonObject,
    })
  }
}
