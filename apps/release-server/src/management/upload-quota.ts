import type { FastifyRequest } from 'fastify'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { actorOf } from '../http/route.ts'
import { collection } from '../storage/collection.ts'
import { object, whole } from '../storage/shape.ts'
import { storedSize } from '../uploads/blobs.ts'

/** Bytes that an actor began to upload, by its name; and those of one blob, by `<name>/<sha256>`. */
const usage = collection('upload-usage', object<{ readonly bytes: number }>({ bytes: whole }))

/**
 * Counts a new blob against the quota of the caller, before any of its bytes is read. A blob that is stored already
 * costs nothing, and one whose upload is repeated counts once.
 *
 * @throws ServerError `UP_QUOTA`.
 */
export async function chargeUpload(
  context: ServerContext,
  request: FastifyRequest,
  { sha256, size }: { readonly sha256: string; readonly size: number },
): Promise<void> {
  const { name, uploadQuota } = actorOf(request)
  if (uploadQuota === undefined || (await storedSize(context, sha256)) !== undefined) return
  await context.metadata.transaction([`upload-usage:${name}`], async (records) => {
    const key = `${name}/${sha256}`
    // What was announced as less before counts in full once more is announced.
    const counted = (await usage.get(records, key))?.bytes ?? 0
    if (size <= counted) return
    const used = (await usage.get(records, name))?.bytes ?? 0
    const bytes = used + size - counted
    if (bytes > uploadQuota)
      throw new ServerError('UP_QUOTA', `Cannot store blob ${sha256}: the quota of this token is used up`, {
        details: { quota: uploadQuota, used, size },
      })
    await usage.put(records, { key: name, value: { bytes } }, { key, value: { bytes: size } })
  })
}
