import { KEY_LIST_PATH_OF, RECORD_PATH } from './key-paths.ts'
import type { KeyDirectory, PublishedKeys, TransportIdentity } from '@keyturn/noise-keys'
import { NoiseKeysError } from '@keyturn/noise-keys'
import { verifyPacket } from '@keyturn/noise-keys/pkarr'
import type { PacketStore, StoredPacket } from '@keyturn/noise-keys/pkarr'
import { equalBytes, utf8Decode } from '@keyturn/primitives'
import type { MetadataStore } from '../storage/metadata-store.ts'

/** Packets of the relay, in the metadata store. */
export function packetStore(metadata: MetadataStore): PacketStore {
  const get = async (name: string): Promise<StoredPacket | undefined> => {
    const found = await metadata.get('pkarr', name)
    return found?.body === undefined
      ? undefined
      : { payload: found.body, lastSeenMs: (found.value as { last_seen_ms: number }).last_seen_ms }
  }
  return {
    get,
    replace: (name, previous, next) =>
      metadata.transaction([`pkarr:${name}`], async (records) => {
        const current = (await records.get('pkarr', name))?.body
        const same =
          current === undefined || previous === undefined
            ? current === previous?.payload
            : equalBytes(current, previous.payload)
        if (same)
          await records.put('pkarr', { key: name, value: { last_seen_ms: next.lastSeenMs }, body: next.payload })
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
  const files = await metadata.list('key-files', { prefix: `${identity.name}/`, bodies: true })
  const records = new Map<string, string>()
  let list: Uint8Array | undefined
  for (const { key, body } of files) {
    const path = key.slice(identity.name.length)
    if (body !== undefined && path === KEY_LIST_PATH_OF) list = body
    else if (body !== undefined && path.startsWith(RECORD_PATH))
      records.set(decodeURIComponent(path.slice(RECORD_PATH.length)), utf8Decode(body))
  }
  const payload = (await metadata.get('pkarr', identity.name))?.body
  const packet = payload === undefined ? undefined : verifyPacket(identity.publicKey, payload)
  return { records, ...(list === undefined ? {} : { list }), ...(packet === undefined ? {} : { packet }) }
}
