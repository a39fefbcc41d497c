import { KEY_LIST_PATH_OF, RECORD_PATH } from './key-paths.ts'
import type { KeyDirectory, PublishedKeys, TransportIdentity } from '@keyturn/noise-keys'
import { NoiseKeysError } from '@keyturn/noise-keys'
import { verifyPacket } from '@keyturn/noise-keys/pkarr'
import type { PacketStore, StoredPacket } from '@keyturn/noise-keys/pkarr'
import { equalBytes, utf8Decode } from '@keyturn/primitives'
import { collection } from '../storage/collection.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { numeric, object, optional, preset, whole } from '../storage/shape.ts'

/** Key records and key lists that identities published here, by their path; the file is the body. */
export const keyFiles = collection(
  'key-files',
  object<{ readonly sequence: number; readonly first_ms?: number | undefined }>({
    sequence: preset(whole, 0),
    first_ms: optional(numeric),
  }),
)
/** Packets of the pkarr relay by the name of their identity; the payload is the body. */
export const packets = collection('pkarr', object<{ readonly last_seen_ms: number }>({ last_seen_ms: numeric }))

/** Packets of the relay, in the metadata store. */
export function packetStore(metadata: MetadataStore): PacketStore {
  const get = async (name: string): Promise<StoredPacket | undefined> => {
    const found = await packets.find(metadata, name)
    return found?.body === undefined ? undefined : { payload: found.body, lastSeenMs: found.value.last_seen_ms }
  }
  return {
    get,
    replace: (name, previous, next) =>
      metadata.transaction([`pkarr:${name}`], async (records) => {
        const current = await packets.body(records, name)
        const same =
          current === undefined || previous === undefined
            ? current === previous?.payload
            : equalBytes(current, previous.payload)
        if (same)
          await packets.put(records, { key: name, value: { last_seen_ms: next.lastSeenMs }, body: next.payload })
        return same
      }),
  }
}

/** Everything this server publishes about an identity, as a directory of the noise-keys package. */
export function ownDirectory(metadata: MetadataStore): KeyDirectory {
  const readOnly = (): Promise<never> =>
    Promise.reject(new NoiseKeysError('NK_CONFLICT', 'This directory is written over HTTP'))
  return {
    name: 'this server',
    read: (identity) => readPublished(metadata, identity),
    putRecord: readOnly,
    putList: readOnly,
    putPacket: readOnly,
  }
}

async function readPublished(metadata: MetadataStore, identity: TransportIdentity): Promise<PublishedKeys> {
  const files = await keyFiles.all(metadata, { prefix: `${identity.name}/`, bodies: true })
  const records = new Map<string, string>()
  let list: Uint8Array | undefined
  for (const { key, body } of files) {
    const path = key.slice(identity.name.length)
    if (body !== undefined && path === KEY_LIST_PATH_OF) list = body
    else if (body !== undefined && path.startsWith(RECORD_PATH))
      records.set(decodeURIComponent(path.slice(RECORD_PATH.length)), utf8Decode(body))
  }
  const payload = await packets.body(metadata, identity.name)
  const packet = payload === undefined ? undefined : verifyPacket(identity.publicKey, payload)
  return { records, ...(list === undefined ? {} : { list }), ...(packet === undefined ? {} : { packet }) }
}
