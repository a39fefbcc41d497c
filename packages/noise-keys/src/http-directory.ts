import { collectBytes, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { KEY_LIST_PATH, recordPath } from './device-id.ts'
import { combineDirectories, relayDirectory } from './directories.ts'
import type { KeyDirectory } from './directory.ts'
import { NoiseKeysError } from './errors.ts'
import { MAX_KEY_LIST_BYTES, verifyKeyList } from './key-list.ts'
import type { Fetch, RelayClientOptions } from './pkarr/relay-client.ts'
import type { TransportIdentity } from './identity.ts'
import { MAX_RECORD_BYTES } from './record.ts'

/** How {@link homeserverDirectory} reaches its files. */
export interface HomeserverOptions {
  /** Address in front of the identity's name. */
  readonly url: string
  readonly fetch?: Fetch
  /** Sent with what is written, an authorization for instance. */
  readonly writeHeaders?: Readonly<Record<string, string>>
  /** Device ids to ask for beside those the list names; `default` finds old peers. */
  readonly devices?: readonly string[]
  /** Time for one answer; 10 s by default. */
  readonly timeoutMs?: number
}

/** Records and list as files of a homeserver; packets are not there. */
export function homeserverDirectory(options: HomeserverOptions): KeyDirectory {
  const call = async (
    method: string,
    identity: TransportIdentity,
    path: string,
    body?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Response> => {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? 10_000)
    const init: RequestInit = {
      method,
      redirect: 'error',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...(body === undefined
        ? {}
        : {
            body: Uint8Array.from(body),
            headers: { 'content-type': 'application/octet-stream', ...options.writeHeaders },
          }),
    }
    try {
      return await (options.fetch ?? fetch)(`${options.url.replace(/\/+$/, '')}/${identity.name}${path}`, init)
    } catch (cause) {
      throw new NoiseKeysError('NK_UNREACHABLE', 'The homeserver does not answer', { cause })
    }
  }
  const get = async (
    identity: TransportIdentity,
    path: string,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> => {
    const response = await call('GET', identity, path, undefined, signal)
    if (response.status === 404) return undefined
    if (response.status !== 200) throw unexpected(response.status)
    const bytes = await collectBytes(
      response.body,
      maxBytes,
      () => new NoiseKeysError('NK_RELAY', `The homeserver answers with more than ${maxBytes} bytes`),
    )
    return bytes.length === 0 ? undefined : bytes
  }
  const put = async (identity: TransportIdentity, path: string, body: Uint8Array): Promise<void> => {
    const { status } = await call('PUT', identity, path, body)
    if (status === 409 || status === 412) throw new NoiseKeysError('NK_CONFLICT', 'The homeserver has a newer file')
    if (status < 200 || status > 299) throw unexpected(status)
  }
  return {
    name: options.url,
    async read(identity, { signal } = {}) {
      const list = await get(identity, KEY_LIST_PATH, MAX_KEY_LIST_BYTES, signal)
      const records = new Map<string, string>()
      for (const device of new Set([...devicesOf(identity, list), ...(options.devices ?? [])])) {
        const bytes = await get(identity, recordPath(device), MAX_RECORD_BYTES, signal)
        if (bytes !== undefined) records.set(device, decode(bytes))
      }
      return { records, ...(list === undefined ? {} : { list }) }
    },
    putRecord: (identity, device, text) => put(identity, recordPath(device), utf8Encode(text)),
    putList: (identity, bytes) => put(identity, KEY_LIST_PATH, bytes),
    putPacket: () => Promise.resolve(),
  }
}

/** A release server: its homeserver files and its relay, docs/spec/noise-keys.md §6. */
export function releaseServerDirectory(
  url: string,
  options: Omit<HomeserverOptions, 'url'> & Pick<RelayClientOptions, 'clock'> = {},
): KeyDirectory {
  const base = url.replace(/\/+$/, '')
  const { clock, ...homeserver } = options
  const relay = relayDirectory({
    relays: [`${base}/pkarr`],
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
    ...(clock === undefined ? {} : { clock }),
  })
  return { ...combineDirectories([homeserverDirectory({ ...homeserver, url: `${base}/pubky` }), relay]), name: url }
}

/** Which records to ask for. A list that does not verify names none; verifying it says why. */
function devicesOf(identity: TransportIdentity, list: Uint8Array | undefined): string[] {
  try {
    return list === undefined ? [] : verifyKeyList(identity.publicKey, list).list.entries.map(({ device }) => device)
  } catch {
    return []
  }
}

/** Text that is not UTF-8 is not a record; it is kept readable so that the verdict can say so. */
function decode(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes)
  } catch {
    return ''
  }
}

function unexpected(status: number): NoiseKeysError {
  const code = status === 429 || status >= 500 ? 'NK_UNREACHABLE' : 'NK_RELAY'
  return new NoiseKeysError(code, `The homeserver answered with status ${status}`, { details: { status } })
}
