import { collectBytes, requireText, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { KEY_LIST_PATH, recordPath } from './device-id.ts'
import { combineDirectories, relayDirectory } from './directories.ts'
import type { KeyDirectory } from './directory.ts'
import { NoiseKeysError } from './errors.ts'
import { MAX_KEY_LIST_BYTES, verifyKeyList } from './key-list.ts'
import type { Fetch, RelayClientOptions } from './pkarr/relay-client.ts'
import type { TransportIdentity } from './identity.ts'
import { MAX_RECORD_BYTES } from './record.ts'

const DEFAULT_TIMEOUT_MS = 10_000

/** How {@link homeserverDirectory} reaches its files. */
export interface HomeserverOptions {
  /** Address in front of the identity's name. */
  readonly url: string
  readonly fetch?: Fetch | undefined
  /** Sent with what is written, an authorization for instance. */
  readonly writeHeaders?: Readonly<Record<string, string>> | undefined
  /** Device ids to ask for beside those the list names; `default` finds old peers. */
  readonly devices?: readonly string[] | undefined
  /** Time for one answer; 10 s by default. */
  readonly timeoutMs?: number | undefined
}

interface HomeserverRequest {
  readonly identity: TransportIdentity
  readonly path: string
  /** What is written; undefined to read. */
  readonly body?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

async function call(
  options: HomeserverOptions,
  { identity, path, body, signal }: HomeserverRequest,
): Promise<Response> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
  const url = `${options.url.replace(/\/+$/, '')}/${identity.name}${path}`
  const content =
    body === undefined
      ? {}
      : {
          body: Uint8Array.from(body),
          headers: { 'content-type': 'application/octet-stream', ...options.writeHeaders },
        }
  try {
    return await (options.fetch ?? fetch)(url, {
      method: body === undefined ? 'GET' : 'PUT',
      redirect: 'error',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      ...content,
    })
  } catch (cause) {
    throw new NoiseKeysError('NK_UNREACHABLE', 'The homeserver does not answer', { cause })
  }
}

async function get(
  options: HomeserverOptions,
  request: HomeserverRequest,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const response = await call(options, request)
  if (response.status === 404) return undefined
  if (response.status !== 200) throw unexpected(response.status)
  const bytes = await collectBytes(
    response.body,
    maxBytes,
    () => new NoiseKeysError('NK_RELAY', `The homeserver answers with more than ${maxBytes} bytes`),
  )
  return bytes.length === 0 ? undefined : bytes
}

async function put(options: HomeserverOptions, request: HomeserverRequest): Promise<void> {
  const { status } = await call(options, request)
  if (status === 409 || status === 412) throw new NoiseKeysError('NK_CONFLICT', 'The homeserver has a newer file')
  if (status < 200 || status > 299) throw unexpected(status)
}

/** Records and list as files of a homeserver; packets are not there. */
export function homeserverDirectory(options: HomeserverOptions): KeyDirectory {
  return {
    name: options.url,
    async read(identity, { signal } = {}) {
      const list = await get(options, { identity, path: KEY_LIST_PATH, signal }, MAX_KEY_LIST_BYTES)
      const records = new Map<string, string>()
      for (const device of new Set([...devicesOf(identity, list), ...(options.devices ?? [])])) {
        const bytes = await get(options, { identity, path: recordPath(device), signal }, MAX_RECORD_BYTES)
        if (bytes !== undefined) records.set(device, decode(bytes))
      }
      return { records, ...(list === undefined ? {} : { list }) }
    },
    putRecord: (identity, device, text) => put(options, { identity, path: recordPath(device), body: utf8Encode(text) }),
    putList: (identity, bytes) => put(options, { identity, path: KEY_LIST_PATH, body: bytes }),
    putPacket: () => Promise.resolve(),
  }
}

/** A release server: its homeserver files and its relay, docs/spec/noise-keys.md §6. */
export function releaseServerDirectory(
  url: string,
  options: Omit<HomeserverOptions, 'url'> & Pick<RelayClientOptions, 'clock'> = {},
): KeyDirectory {
  requireText(url, 'url')
  const base = url.replace(/\/+$/, '')
  const { clock, ...homeserver } = options
  const relay = relayDirectory({
    relays: [`${base}/pkarr`],
    fetch: options.fetch,
    clock,
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
