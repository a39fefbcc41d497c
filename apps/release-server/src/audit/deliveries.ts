import type { JsonObject } from '@keyturn/primitives'
import { collection } from '../storage/collection.ts'
import type { RecordWriter } from '../storage/metadata-store.ts'
import { flag, listOf, object, preset, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'

/** An event on its way to a webhook. */
export interface Delivery {
  readonly webhook: string
  readonly body: string
  readonly attempt: number
  readonly next_ms: number
}

const delivery = object<Delivery>({ webhook: text, body: text, attempt: whole, next_ms: whole })

/** Deliveries that wait for their next attempt. */
export const deliveries = collection('deliveries', delivery)
/** Deliveries whose last attempt failed, kept so that somebody can look at them. */
export const deadDeliveries = collection('dead-deliveries', delivery)

/** The members of a webhook that matter here; the rest belongs to the room of webhooks. */
const subscriptions = collection(
  'webhooks',
  object<{ readonly events: readonly string[]; readonly paused: boolean }>({
    events: listOf(text),
    paused: preset(flag, false),
  }),
)
const counter = collection('counters', whole)

/** What happened, for webhooks. */
export interface Announcement {
  /** An action of the audit log, such as `channel.publish`. */
  readonly type: string
  readonly data: JsonObject
  /** Id of the only webhook to notify; default: all that subscribed to this type. */
  readonly only?: string | undefined
}

/** Queues a delivery for every webhook that subscribed, in the transaction that made the event. */
export async function queueDeliveries(
  records: RecordWriter,
  nowMs: number,
  { type, data, only }: Announcement,
): Promise<void> {
  for (const { key, value } of await subscriptions.all(records)) {
    const { events, paused } = value
    if (paused || (only === undefined ? events.length > 0 && !events.includes(type) : key !== only)) continue
    const sequence = ((await counter.get(records, 'deliveries')) ?? 0) + 1
    await counter.put(records, { key: 'deliveries', value: sequence })
    await deliveries.put(records, {
      key: `msg_${String(sequence).padStart(12, '0')}`,
      value: {
        webhook: key,
        body: JSON.stringify({ type, timestamp: timestamp(nowMs), data }),
        attempt: 0,
        next_ms: nowMs,
      },
    })
  }
}
