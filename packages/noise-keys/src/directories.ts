import { ANCHOR_DNS_NAME } from './device-id.ts'
import type { KeyDirectory, PublishedKeys } from './directory.ts'
import { NoiseKeysError } from './errors.ts'
import { RelayClient } from './pkarr/relay-client.ts'
import type { RelayClientOptions } from './pkarr/relay-client.ts'
import { isMoreRecent } from './pkarr/signed-packet.ts'
import type { SignedPacket } from './pkarr/signed-packet.ts'
import { txtValue, TXT } from './pkarr/dns.ts'

const RECORD_PREFIX = `${ANCHOR_DNS_NAME}.`

/** A directory in memory, for tests and for processes that publish to themselves. */
export function memoryDirectory(name = 'memory'): KeyDirectory {
  const entries = new Map<string, { records: Map<string, string>; list?: Uint8Array; packet?: SignedPacket }>()
  const entryOf = (identity: string): { records: Map<string, string>; list?: Uint8Array; packet?: SignedPacket } => {
    const entry = entries.get(identity) ?? { records: new Map<string, string>() }
    entries.set(identity, entry)
    return entry
  }
  return {
    name,
    read: (identity) =>
      Promise.resolve({ ...entryOf(identity.name), records: new Map(entryOf(identity.name).records) }),
    putRecord: (identity, device, text) => Promise.resolve(void entryOf(identity.name).records.set(device, text)),
    putList: (identity, bytes) => Promise.resolve(void (entryOf(identity.name).list = bytes.slice())),
    putPacket: (identity, packet) => {
      const entry = entryOf(identity.name)
      if (entry.packet !== undefined && isMoreRecent(entry.packet, packet)) {
        return Promise.reject(new NoiseKeysError('NK_CONFLICT', 'A more recent packet is published'))
      }
      entry.packet = packet
      return Promise.resolve()
    },
  }
}

/**
 * Pkarr relays over HTTP. They carry packets only: records are found where they fit into the packet, and the list
 * through another directory.
 */
export function relayDirectory(options: RelayClientOptions & { readonly client?: RelayClient }): KeyDirectory {
  const client = options.client ?? new RelayClient(options)
  return {
    name: options.relays.join(', '),
    async read(identity, { fresh = false, signal } = {}) {
      const packet = await client.resolve(identity, fresh ? 'network' : 'cache', signal)
      return packet === undefined ? { records: new Map() } : { records: recordsInPacket(packet), packet }
    },
    putRecord: () => Promise.resolve(),
    putList: () => Promise.resolve(),
    async putPacket(identity, packet) {
      await client.publish(packet, identity.name)
    },
  }
}

/** Records carried by a packet itself, by device. A value that is not text is left out. */
export function recordsInPacket(packet: SignedPacket): Map<string, string> {
  const records = new Map<string, string>()
  for (const record of packet.records) {
    if (record.type !== TXT || !record.name.startsWith(RECORD_PREFIX)) continue
    try {
      records.set(record.name.slice(RECORD_PREFIX.length), txtValue(record))
    } catch {
      // Somebody's TXT record of another kind: it is not a key record.
    }
  }
  return records
}

/**
 * Several directories as one. What is read is the most recent packet and the files of the first that has them; what is
 * written goes to all.
 */
export function combineDirectories(directories: readonly KeyDirectory[]): KeyDirectory {
  const toAll = async (write: (directory: KeyDirectory) => Promise<void>): Promise<void> => {
    for (const directory of directories) await write(directory)
  }
  return {
    name: directories.map(({ name }) => name).join(' + '),
    async read(identity, options) {
      const answers = await Promise.allSettled(directories.map((directory) => directory.read(identity, options)))
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
      if (found.length > 0) return found.reduce(mergePublished)
      const cause = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))[0]
      throw cause instanceof NoiseKeysError
        ? cause
        : new NoiseKeysError('NK_UNREACHABLE', 'No directory answers', { cause })
    },
    putRecord: (identity, device, text) => toAll((directory) => directory.putRecord(identity, device, text)),
    putList: (identity, bytes) => toAll((directory) => directory.putList(identity, bytes)),
    putPacket: (identity, packet) => toAll((directory) => directory.putPacket(identity, packet)),
  }
}

function mergePublished(first: PublishedKeys, second: PublishedKeys): PublishedKeys {
  const packet =
    first.packet === undefined || (second.packet !== undefined && isMoreRecent(second.packet, first.packet))
      ? second.packet
      : first.packet
  const list = first.list ?? second.list
  return {
    // Files are newer than what a cached packet carries, and a packet fills what files lack.
    records: new Map([...second.records, ...first.records]),
    ...(list === undefined ? {} : { list }),
    ...(packet === undefined ? {} : { packet }),
  }
}
