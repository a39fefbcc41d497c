import type { ReleaseNoteView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { object, text } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { productLock } from './products.ts'
import { readRelease } from './releases.ts'

/** Longest note, in characters. */
export const MAX_NOTE_LENGTH = 1000
/** Most notes on a release. */
const MAX_NOTES = 100

/** Notes by `<product>/<channel>/<version>/<number>`. */
export const releaseNotes = collection('release-notes', object<ReleaseNoteView>({ text, by: text, at: text }))

/** A release by its place. */
interface Place {
  readonly product: string
  readonly channel: string
  readonly version: string
}

const prefixOf = ({ product, channel, version }: Place): string => `${product}/${channel}/${version}/`

/** What people wrote about a release, oldest first. */
export async function readReleaseNotes(records: RecordReader, place: Place): Promise<ReleaseNoteView[]> {
  await readRelease(records, place.product, place.channel, place.version)
  return (await releaseNotes.all(records, { prefix: prefixOf(place) })).map(({ value }) => value)
}

/**
 * Adds a note. Notes stay as they are: they say who thought what, and when.
 *
 * @throws ServerError `SRV_NOT_FOUND`; `SRV_LIMIT` when the release has too many.
 */
export async function addReleaseNote(
  context: ServerContext,
  place: Place,
  written: string,
  caller: Caller,
): Promise<ReleaseNoteView> {
  const now = context.clock()
  return await context.metadata.transaction([AUDIT_LOCK, productLock(place.product)], async (records) => {
    const { length } = await readReleaseNotes(records, place)
    if (length >= MAX_NOTES)
      throw new ServerError('SRV_LIMIT', `Cannot add a note: the release has ${MAX_NOTES} notes already`)
    const note: ReleaseNoteView = { text: written, by: caller.actor, at: timestamp(now) }
    await releaseNotes.put(records, { key: `${prefixOf(place)}${String(length + 1).padStart(4, '0')}`, value: note })
    const { product, channel, version } = place
    await appendAudit(records, now, {
      ...caller,
      action: 'release.note',
      target: `${product}/${channel}/${version}`,
    })
    return note
  })
}
