import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isMissing, systemErrorCode, writeFileAtomic } from '@keyturn/primitives/node'
import { assertDeviceId, KEY_LIST_PATH, recordPath } from '../device-id.ts'
import { recordsInPacket } from '../directories.ts'
import type { KeyDirectory } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import { isMoreRecent, relayPayload, verifyPacket } from '../pkarr/signed-packet.ts'
import type { SignedPacket } from '../pkarr/signed-packet.ts'
import type { TransportIdentity } from '../identity.ts'

const RECORDS = '/pub/noise.app/v0'
const PACKET = '/pkarr'

/**
 * A folder laid out as a homeserver serves it: `<name>/pub/noise.app/v0/<device>`, `<name>/pub/noise.app/v1/keys`, and
 * the packet beside them as `<name>/pkarr`. Any web server can publish it; old readers find their files in it.
 */
export function folderDirectory(folder: string): KeyDirectory {
  const pathOf = (identity: TransportIdentity, path: string): string => join(folder, identity.name, path)
  const write = async (path: string, bytes: Uint8Array): Promise<void> => {
    await mkdir(dirname(path), { recursive: true })
    await writeFileAtomic(path, bytes, { mode: 0o644 })
  }
  const readPacket = async (identity: TransportIdentity): Promise<SignedPacket | undefined> => {
    const payload = await readIfThere(pathOf(identity, PACKET))
    return payload && verifyPacket(identity.publicKey, payload)
  }
  return {
    name: folder,
    async read(identity) {
      const packet = await readPacket(identity)
      const list = await readIfThere(pathOf(identity, KEY_LIST_PATH))
      const records = packet === undefined ? new Map<string, string>() : recordsInPacket(packet)
      for (const device of await listDevices(pathOf(identity, RECORDS))) {
        const bytes = await readIfThere(pathOf(identity, recordPath(device)))
        // An empty file counts as not published.
        if (bytes !== undefined && bytes.length > 0) records.set(device, new TextDecoder().decode(bytes))
      }
      return { records, ...(list === undefined ? {} : { list }), ...(packet === undefined ? {} : { packet }) }
    },
    async putRecord(identity, device, text) {
      assertDeviceId(device)
      await write(pathOf(identity, recordPath(device)), new TextEncoder().encode(text))
    },
    putList: (identity, bytes) => write(pathOf(identity, KEY_LIST_PATH), bytes),
    async putPacket(identity, packet) {
      const current = await readPacket(identity)
      if (current !== undefined && isMoreRecent(current, packet))
        throw new NoiseKeysError('NK_CONFLICT', 'A more recent packet is published')
      await write(pathOf(identity, PACKET), relayPayload(packet))
    },
  }
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return Uint8Array.from(await readFile(path))
  } catch (error) {
    if (isMissing(error) || systemErrorCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}

async function listDevices(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => /^[A-Za-z0-9._-]{1,63}$/.test(name))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}
