import { sha256Hex, utf8Encode } from '@keyturn/primitives'
import type { ChannelAccessView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { channelAccess } from '../public/channel-access.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { timestamp } from '../time.ts'
import { productLock, readProduct } from './products.ts'

/** A channel of a product. */
export interface ChannelPlace {
  readonly product: string
  readonly channel: string
}

/** Whether a channel has an access code. */
export async function viewAccess(
  records: RecordReader,
  { product, channel }: ChannelPlace,
): Promise<ChannelAccessView> {
  const stored = await channelAccess.get(records, `${product}/${channel}`)
  return { product, channel, protected: stored !== undefined, set_at: stored?.set_at ?? null }
}

/**
 * Sets or removes the access code of a channel. From then on its documents answer only with the code; blobs stay public
 * by their hash, which only the manifest names.
 *
 * @param code - Undefined: everybody may read the channel again.
 */
export async function protectChannel(
  context: ServerContext,
  { product, channel }: ChannelPlace,
  code: string | undefined,
  caller: Caller,
): Promise<ChannelAccessView> {
  const now = context.clock()
  const key = `${product}/${channel}`
  await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    await readProduct(records, product)
    if (code === undefined) await channelAccess.delete(records, key)
    else
      await channelAccess.put(records, {
        key,
        value: { code_sha256: sha256Hex(utf8Encode(code)), set_at: timestamp(now) },
      })
    await appendAudit(records, now, {
      ...caller,
      action: code === undefined ? 'channel.open' : 'channel.protect',
      target: key,
    })
    await records.notify('products', product)
    await records.notify('documents', product)
  })
  return viewAccess(context.metadata, { product, channel })
}
