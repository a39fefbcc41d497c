import { equalBytes } from '@keyturn/primitives'
import type { ZstdFunctions, ZstdSource } from './zstd-codec.ts'
import { reasonOf, zstdUnavailable } from './zstd-unavailable.ts'

const FILE_HINT = 'Give dist/web/zstd.wasm of @bokuweb/zstd-wasm, in the version that this package depends on'
const PAGE_BYTES = 65_536
const MAX_HEAP_BYTES = 2 ** 31
/** What the library grows by at least, so that many small requests do not grow it one by one. */
const GROWTH = 1.2

/** Names that the linker gave the exports of zstd.wasm, in the pinned version of `@bokuweb/zstd-wasm`. */
interface Exports {
  readonly f: WebAssembly.Memory
  /** Runs constructors. */
  readonly g: () => void
  /** ZSTD_isError */
  readonly h: (code: number) => number
  /** ZSTD_compressBound */
  readonly i: (size: number) => number
  /** ZSTD_compress: to, capacity, from, size, level */
  readonly m: (...place: readonly number[]) => number
  /** ZSTD_decompress */
  readonly r: (to: number, capacity: number, from: number, size: number) => number
  /** malloc */
  readonly s: (size: number) => number
  /** free */
  readonly t: (at: number) => void
}

const FUNCTIONS = ['g', 'h', 'i', 'm', 'r', 's', 't'] as const

/** Refuses a source that names none of the three, or more than one. @throws TypeError. */
export function checkZstdSource(source: ZstdSource): void {
  const { url, module, bytes } = (source ?? {}) as Partial<Record<'url' | 'module' | 'bytes', unknown>>
  if ([url, module, bytes].filter((given) => given !== undefined).length !== 1)
    throw new TypeError('zstd must have one of url, module and bytes')
  if (url !== undefined && typeof url !== 'string' && !(url instanceof URL))
    throw new TypeError('zstd.url must be a string or a URL')
  if (bytes !== undefined && !(bytes instanceof Uint8Array)) throw new TypeError('zstd.bytes must be a Uint8Array')
}

async function fetchBytes(url: string): Promise<ArrayBuffer> {
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`the server answered ${response.status}`)
    return await response.arrayBuffer()
  } catch (cause) {
    throw zstdUnavailable(`"${url}": ${reasonOf(cause)}`, FILE_HINT, cause)
  }
}

async function moduleOf({ url, module, bytes }: ZstdSource): Promise<WebAssembly.Module> {
  if (module !== undefined) return module as WebAssembly.Module
  const given = url === undefined ? (bytes as Uint8Array<ArrayBuffer>) : await fetchBytes(String(url))
  try {
    return await WebAssembly.compile(given)
  } catch (cause) {
    const place = url === undefined ? 'the bytes given' : `"${String(url)}"`
    throw zstdUnavailable(`${place}: ${reasonOf(cause)}`, FILE_HINT, cause)
  }
}

/** Grows the memory to hold `requested` bytes; zstd gets 0 and reports a failed allocation when it cannot. */
function grow(memory: WebAssembly.Memory, requested: number): number {
  const has = memory.buffer.byteLength
  if (requested > MAX_HEAP_BYTES) return 0
  for (const wanted of [Math.max(requested, has * GROWTH), requested]) {
    try {
      memory.grow(Math.ceil((Math.min(wanted, MAX_HEAP_BYTES) - has) / PAGE_BYTES))
      return 1
    } catch {
      // The smaller size is tried next.
    }
  }
  return 0
}

async function instantiate(module: WebAssembly.Module): Promise<Exports> {
  // The program can ask for memory before its exports are here.
  const own: { memory?: WebAssembly.Memory } = {}
  const stop = (): never => {
    throw new Error('zstd has stopped')
  }
  const imports = {
    a: stop,
    b: () => undefined,
    c: stop,
    d: () => 0,
    e: (requested: number) => (own.memory === undefined ? 0 : grow(own.memory, requested >>> 0)),
  }
  const { exports } = await WebAssembly.instantiate(module, { a: imports })
  const isWhole = FUNCTIONS.every((name) => typeof exports[name] === 'function')
  if (!isWhole || !(exports['f'] instanceof WebAssembly.Memory)) throw new Error('it is another program')
  own.memory = exports['f']
  const whole = exports as unknown as Exports
  whole.g()
  return whole
}

/** Runs one of the two functions over memory of its own. */
function convert(
  { f: memory, h: isError, s: allocate, t: release }: Exports,
  bytes: Uint8Array,
  capacity: number,
  run: (to: number, from: number) => number,
): Uint8Array {
  const from = allocate(Math.max(1, bytes.length))
  const to = allocate(Math.max(1, capacity))
  try {
    if (from === 0 || to === 0) throw new Error('zstd has no memory left')
    new Uint8Array(memory.buffer).set(bytes, from)
    const size = run(to, from)
    if (isError(size) !== 0) throw new Error(`zstd failed with code ${size}`)
    return new Uint8Array(memory.buffer, to, size).slice()
  } finally {
    if (from !== 0) release(from)
    if (to !== 0) release(to)
  }
}

function functionsOf(exports: Exports): ZstdFunctions {
  return {
    compress(bytes, level) {
      const capacity = exports.i(bytes.length)
      return convert(exports, bytes, capacity, (to, from) => exports.m(to, capacity, from, bytes.length, level))
    },
    decompress: (frame, size) => convert(exports, frame, size, (to, from) => exports.r(to, size, from, frame.length)),
  }
}

/**
 * Loads zstd from a place that the caller names.
 *
 * @throws M2pError `M2P_ZSTD_UNAVAILABLE`: it cannot be fetched, is not WebAssembly, or another program.
 */
export async function loadZstd(source: ZstdSource): Promise<ZstdFunctions> {
  const module = await moduleOf(source)
  try {
    const loaded = functionsOf(await instantiate(module))
    const probe = new Uint8Array(1000)
    if (!equalBytes(loaded.decompress(loaded.compress(probe, 3), probe.length), probe))
      throw new Error('it is another program')
    return loaded
  } catch (cause) {
    throw zstdUnavailable(reasonOf(cause), FILE_HINT, cause)
  }
}
