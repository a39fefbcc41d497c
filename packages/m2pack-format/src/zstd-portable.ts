import { compress, decompress, init } from '@bokuweb/zstd-wasm'
import { MAX_WINDOW_BYTES } from './limits.ts'
import type { ZstdCodec, ZstdFunctions, ZstdSource } from './zstd-codec.ts'
import { checkZstdSource, loadZstd } from './zstd-instance.ts'
import { reasonOf, zstdUnavailable } from './zstd-unavailable.ts'

/** Highest level whose window stays within 8 MiB whatever the input. */
const MAX_LEVEL_FOR_LARGE_INPUT = 19

/** The library with its own loader, which finds the file where a bundler put it. */
const BUNDLED: ZstdFunctions = {
  compress,
  decompress: (frame, size) => decompress(frame, { defaultHeapSize: size }),
}

/** The shortest module there is: it compiles wherever a page may use WebAssembly at all. */
const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
const FORBIDDEN_HINT =
  "Allow it in the Content-Security-Policy: script-src 'self' 'wasm-unsafe-eval'; a worker takes a compiled module: zstd: { module }"

function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object') throw zstdUnavailable('this runtime has no WebAssembly', FORBIDDEN_HINT)
}

async function requireCompiler(): Promise<void> {
  try {
    await WebAssembly.compile(EMPTY_MODULE)
  } catch (cause) {
    throw zstdUnavailable(`WebAssembly is forbidden here: ${reasonOf(cause)}`, FORBIDDEN_HINT, cause)
  }
}

/** The events of the window or worker that this runs in; undefined in Node. */
type EventPlace = Pick<EventTarget, 'addEventListener' | 'removeEventListener'>

/**
 * Starts the library, which never says that it failed: it leaves a rejected promise that nobody holds. That rejection
 * is caught here, so that the caller gets an error instead of waiting forever.
 */
function start(): Promise<void> {
  const place = globalThis as unknown as Partial<EventPlace>
  return new Promise((resolve, reject) => {
    const onRejection = (event: Event): void => {
      const { reason } = event as unknown as { readonly reason: unknown }
      if (!(reason instanceof WebAssembly.RuntimeError) || !reason.message.startsWith('Aborted(')) return
      event.preventDefault()
      const hint = 'Serve zstd.wasm of @bokuweb/zstd-wasm beside the bundle, or name its address: zstd: { url }'
      finish(() => reject(zstdUnavailable(reason.message, hint, reason)))
    }
    const finish = (settle: () => void): void => {
      place.removeEventListener?.('unhandledrejection', onRejection)
      settle()
    }
    place.addEventListener?.('unhandledrejection', onRejection)
    init().then(
      () => finish(resolve),
      (cause: unknown) => finish(() => reject(zstdUnavailable(reasonOf(cause), 'Look at the cause', cause))),
    )
  })
}

let loaded: ZstdFunctions | undefined
/** The library's own loader can be run once only, and has failed for good when it failed. */
let bundled: Promise<void> | undefined
let pending: { readonly source: ZstdSource; readonly done: Promise<ZstdFunctions> } | undefined

async function loadBundled(): Promise<void> {
  await requireCompiler()
  await start()
  loaded ??= BUNDLED
}

function isSame(left: ZstdSource, right: ZstdSource): boolean {
  return String(left.url) === String(right.url) && left.module === right.module && left.bytes === right.bytes
}

async function loadFrom(source: ZstdSource): Promise<void> {
  if (source.module === undefined) await requireCompiler()
  if (pending === undefined || !isSame(pending.source, source)) pending = { source, done: loadZstd(source) }
  const mine = pending
  try {
    loaded ??= await mine.done
  } finally {
    // What failed is tried again by the next call: a page may have been offline.
    if (pending === mine) pending = undefined
  }
}

async function ready(source: ZstdSource | undefined): Promise<void> {
  if (source !== undefined) checkZstdSource(source)
  if (loaded !== undefined) return
  requireWebAssembly()
  await (source === undefined ? (bundled ??= loadBundled()) : loadFrom(source))
}

/** Never undefined after `ready()`. */
const functions = (): ZstdFunctions => loaded as ZstdFunctions

/** zstd as WebAssembly, for runtimes that have none built in. */
export const zstd: ZstdCodec = {
  ready,
  compress: (bytes, level) =>
    functions().compress(bytes, bytes.length > MAX_WINDOW_BYTES ? Math.min(level, MAX_LEVEL_FOR_LARGE_INPUT) : level),
  decompress: (frame, size) => functions().decompress(frame, size),
}
