import {
  PrimitivesError,
  base64Decode,
  base64Encode,
  canonicalJson,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { KEY_BYTES } from '../limits.ts'
import type { Layer, LayerContext, Place, RecordId } from '../place.ts'
import type { Expected } from '../store.ts'
import type { VaultCore } from '../vault-core.ts'
import { MAX_STREAM_BYTES, sealedStreamBytes } from './format.ts'
import { SealedStream, openStream, sealStream } from './stream.ts'
import type { ByteStream, SealedSource } from './stream.ts'

const FORMAT = 'keyturn-stream-1'

/** Where the record of a stream goes. */
export interface StreamPlace {
  readonly id: RecordId
  readonly layer: Layer
  readonly context: LayerContext
  readonly expected: Expected
  readonly expiresAt: number | undefined
}

/** What the record of a stream holds: the secret of this one stream, and how long its plaintext is. */
interface StreamRecord {
  readonly secret: Uint8Array
  readonly size: number
}

function writeRecord({ secret, size }: StreamRecord): Uint8Array {
  return utf8Encode(canonicalJson({ format: FORMAT, secret: base64Encode(secret), size }))
}

function readRecord(bytes: Uint8Array): StreamRecord {
  try {
    const json = parseStrictJson(bytes, { maxBytes: 1024 })
    if (typeof json === 'object' && json !== null && !Array.isArray(json) && json['format'] === FORMAT) {
      const { secret, size } = json
      const key = typeof secret === 'string' ? base64Decode(secret) : new Uint8Array(0)
      const fits = typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 && size <= MAX_STREAM_BYTES
      if (key.length === KEY_BYTES && fits) return { secret: key, size }
    }
  } catch (error) {
    if (!(error instanceof PrimitivesError)) throw error
  }
  throw new VaultError('VK_FORMAT', 'The record is not that of a stream', { hint: 'Open it with open()' })
}

/**
 * See {@link Cell.sealStream}. The record is written before the last chunk is given out: a source or a consumer that
 * stops early leaves no record, and what was there before still opens.
 */
export async function* sealToCell(
  core: VaultCore,
  { id, layer, context, expected, expiresAt }: StreamPlace,
  plaintext: ByteStream,
): AsyncGenerator<Uint8Array> {
  const place: Place = { ...id, layer, context }
  await core.checkWritable(place, expected) // before gigabytes are read for nothing
  const secret = core.streamSecret(place)
  try {
    yield* sealStream(secret, plaintext, {
      async beforeLast(size) {
        const record = writeRecord({ secret, size })
        try {
          await core.write(place, record, expected, expiresAt)
        } finally {
          wipe(record)
        }
      },
    })
  } finally {
    wipe(secret)
  }
}

async function findRecord(core: VaultCore, id: RecordId, context: LayerContext): Promise<StreamRecord> {
  const { record, opened } = await core.read(id, context)
  try {
    if (!core.keyring.isActive(opened.keyVersion)) core.lazyReseal(record, context, opened)
    return readRecord(opened.plaintext)
  } finally {
    wipe(opened.plaintext)
  }
}

/** See {@link Cell.openStream}. */
export async function* openFromCell(
  core: VaultCore,
  id: RecordId,
  context: LayerContext,
  sealed: ByteStream,
): AsyncGenerator<Uint8Array> {
  const { secret, size } = await findRecord(core, id, context)
  try {
    yield* openStream(secret, lengthChecked(sealed, sealedStreamBytes(size)))
  } finally {
    wipe(secret)
  }
}

/** Stops a source that is longer than it may be, and says so of one that is shorter. */
async function* lengthChecked(source: ByteStream, expected: number): AsyncGenerator<Uint8Array> {
  let found = 0
  const wrong = (): VaultError =>
    new VaultError('VK_STREAM', `The sealed stream has ${found} bytes, expected ${expected}`, {
      details: { found, expected },
    })
  for await (const bytes of source) {
    found += bytes.length
    if (found > expected) throw wrong()
    yield bytes
  }
  if (found < expected) throw wrong()
}

/** See {@link Cell.openSealed}. */
export async function openAtCell(
  core: VaultCore,
  id: RecordId,
  context: LayerContext,
  source: SealedSource,
): Promise<SealedStream> {
  const { secret, size } = await findRecord(core, id, context)
  try {
    return await SealedStream.open(secret, source, size)
  } finally {
    wipe(secret)
  }
}
