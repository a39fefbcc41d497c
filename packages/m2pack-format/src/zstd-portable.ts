import { compress, decompress, init } from '@bokuweb/zstd-wasm'
import { M2pError } from './errors.ts'
import { MAX_WINDOW_BYTES } from './limits.ts'
import type { ZstdCodec } from './zstd-codec.ts'

/** Highest level whose window stays within 8 MiB whatever the input. */
const MAX_LEVEL_FOR_LARGE_INPUT = 19

let given: string | URL | undefined
let loading: Promise<void> | undefined

/**
 * Says where `zstd.wasm` is, before the first archive is opened: for bundlers that do not copy it beside the code. The
 * file is `dist/web/zstd.wasm` of the package `@bokuweb/zstd-wasm`.
 *
 * @param url - Its address.
 * @throws Error when zstd is loaded already.
 */
export function setZstdUrl(url: string | URL): void {
  if (loading !== undefined) throw new Error('zstd is loaded already')
  given = url
}

function unavailable(reason: string, hint: string, cause?: unknown): M2pError {
  return new M2pError('M2P_ZSTD_UNAVAILABLE', `Cannot load zstd: ${reason}`, { hint, cause })
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** The shortest module there is: it compiles wherever a page may use WebAssembly at all. */
const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

async function requireWebAssembly(): Promise<void> {
  const hint = "Allow it in the Content-Security-Policy: script-src 'self' 'wasm-unsafe-eval'"
  if (typeof WebAssembly !== 'object') throw unavailable('this runtime has no WebAssembly', hint)
  try {
    await WebAssembly.compile(EMPTY_MODULE)
  } catch (cause) {
    throw unavailable(`WebAssembly is forbidden here: ${reasonOf(cause)}`, hint, cause)
  }
}

async function requireFile(url: string): Promise<void> {
  const hint = 'Copy dist/web/zstd.wasm of @bokuweb/zstd-wasm there, or name its address: setZstdUrl(url)'
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`the server answered ${response.status}`)
    await WebAssembly.compile(await response.arrayBuffer())
  } catch (cause) {
    throw unavailable(`"${url}": ${reasonOf(cause)}`, hint, cause)
  }
}

/** The events of the window or worker that this runs in; undefined in Node. */
type EventPlace = Pick<EventTarget, 'addEventListener' | 'removeEventListener'>

/**
 * Starts the library, which never says that it failed: it leaves a rejected promise that nobody holds. That rejection
 * is caught here, so that the caller gets an error instead of waiting forever.
 */
function start(path: string | undefined): Promise<void> {
  const place = globalThis as unknown as Partial<EventPlace>
  return new Promise((resolve, reject) => {
    const onRejection = (event: Event): void => {
      const { reason } = event as unknown as { readonly reason: unknown }
      if (!(reason instanceof WebAssembly.RuntimeError) || !reason.message.startsWith('Aborted(')) return
      event.preventDefault()
      const hint = 'Serve zstd.wasm of @bokuweb/zstd-wasm beside the bundle, or name its address: setZstdUrl(url)'
      finish(() => reject(unavailable(reason.message, hint, reason)))
    }
    const finish = (settle: () => void): void => {
      place.removeEventListener?.('unhandledrejection', onRejection)
      settle()
    }
    place.addEventListener?.('unhandledrejection', onRejection)
    // Its declarations are those of its version for Node, which takes no address.
    ;(init as (path?: string) => Promise<void>)(path).then(
      () => finish(resolve),
      (cause: unknown) => finish(() => reject(unavailable(reasonOf(cause), 'Look at the cause', cause))),
    )
  })
}

async function load(): Promise<void> {
  await requireWebAssembly()
  const path = given === undefined ? undefined : String(given)
  if (path !== undefined) await requireFile(path)
  await start(path)
}

/** zstd as WebAssembly, for runtimes that have none built in. */
export const zstd: ZstdCodec = {
  ready: () => (loading ??= load()),
  compress: (bytes, level) =>
    compress(bytes, bytes.length > MAX_WINDOW_BYTES ? Math.min(level, MAX_LEVEL_FOR_LARGE_INPUT) : level),
  decompress: (frame, size) => decompress(frame, { defaultHeapSize: size }),
}
