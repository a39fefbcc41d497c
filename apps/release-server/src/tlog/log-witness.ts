import { hexDecode, hexEncode } from '@keyturn/primitives'
import { LogWitness, originHash } from '@keyturn/tlog'
import type { Policy, WatchedLog, WitnessStore } from '@keyturn/tlog'
import type { ServerContext } from '../context.ts'
import { collection } from '../storage/collection.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { object, text, whole } from '../storage/shape.ts'
import type { LogKeys } from './log-keys.ts'

/** For whom this server is a witness. */
export interface LogWitnessSettings {
  /** Name of its key: `updates.example.org/witness`. */
  readonly name: string
  /** The logs that it watches, each on a line of a policy; it signs for no others. */
  readonly logs: Policy['logs']
}

/** The last checkpoint of each log, by the hash of its origin; its note is the body. */
const heads = collection(
  'log-witness',
  object<{ readonly size: number; readonly root: string }>({ size: whole, root: text }),
)

/** What a witness remembers, in the metadata store: one answer at a time for each log, across all replicas. */
function storedHeads(metadata: MetadataStore): WitnessStore {
  return {
    load: async (origin) => {
      const found = await heads.find(metadata, originHash(origin))
      if (found?.body === undefined) return undefined
      return { size: found.value.size, root: hexDecode(found.value.root), note: found.body }
    },
    replace: async (origin, expected, { size, root, note }) => {
      const key = originHash(origin)
      return await metadata.transaction([`log-witness:${key}`], async (records) => {
        if ((await heads.get(records, key))?.size !== expected?.size) return false
        await heads.put(records, { key, value: { size, root: hexEncode(root) }, body: note })
        return true
      })
    },
  }
}

/** Opens the witness of this server: its key is in the vault, and what it signed is in the metadata store. */
export async function openLogWitness(
  { metadata, clock }: Pick<ServerContext, 'metadata' | 'clock'>,
  keys: LogKeys,
  { name, logs }: LogWitnessSettings,
): Promise<LogWitness> {
  const signer = await keys.signer('witness', name, 'cosignature')
  const watched = logs.map(({ key }): WatchedLog => ({ origin: key.name, keys: [key] }))
  return new LogWitness(signer, watched, storedHeads(metadata), { clock })
}
