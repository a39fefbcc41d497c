import { verifyKeyList } from '@keyturn/noise-keys'
import type { KeyDirectory, PublishedKeys, TransportIdentity } from '@keyturn/noise-keys'
import { relayPayload, verifyPacket } from '@keyturn/noise-keys/pkarr'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import type { HttpCaller } from './http.ts'
import { readBounded } from './read-bounded.ts'

const segment = encodeURIComponent
/** Largest key record, key list or packet that is read. */
const MAX_FILE_BYTES = 64 * 1024
const OCTETS = { 'content-type': 'application/octet-stream' }

/** The key files and the pkarr relay of a release server as a directory of the noise-keys package. */
export function serverKeyDirectory(http: HttpCaller, name: string): KeyDirectory {
  const put = async (path: string, body: Uint8Array, what: string): Promise<void> => {
    await http.send({ method: 'PUT', path, what, body, headers: OCTETS })
  }
  return {
    name,
    read: (identity) => readAll(http, identity),
    putRecord: (identity, device, text) =>
      put(
        `/pubky/${identity.name}/pub/noise.app/v0/${segment(device)}`,
        utf8Encode(text),
        `publish the key record of "${device}"`,
      ),
    putList: (identity, bytes) => put(`/pubky/${identity.name}/pub/noise.app/v1/keys`, bytes, 'publish the key list'),
    putPacket: (identity, packet) => put(`/pkarr/${identity.name}`, relayPayload(packet), 'publish the pkarr packet'),
  }
}

async function fetchFile(http: HttpCaller, path: string): Promise<Uint8Array | undefined> {
  const response = await http.send({ method: 'GET', path, what: `fetch ${path}`, accept: [404] })
  const bytes = await readBounded(response, MAX_FILE_BYTES, `fetch ${path}`)
  return response.status === 404 ? undefined : bytes
}

async function readAll(http: HttpCaller, identity: TransportIdentity): Promise<PublishedKeys> {
  const list = await fetchFile(http, `/pubky/${identity.name}/pub/noise.app/v1/keys`)
  const payload = await fetchFile(http, `/pkarr/${identity.name}`)
  const records = new Map<string, string>()
  const devices =
    list === undefined ? [] : verifyKeyList(identity.publicKey, list).list.entries.map(({ device }) => device)
  for (const device of devices) {
    const record = await fetchFile(http, `/pubky/${identity.name}/pub/noise.app/v0/${segment(device)}`)
    if (record !== undefined) records.set(device, utf8Decode(record))
  }
  return {
    records,
    ...(list === undefined ? {} : { list }),
    ...(payload === undefined ? {} : { packet: verifyPacket(identity.publicKey, payload) }),
  }
}
