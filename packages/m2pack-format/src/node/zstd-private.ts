import * as zlib from 'node:zlib'
import { roomFor } from '../buffer-size.ts'

// One call into zlib for each frame, on an object that stays: making a stream costs 20 times what a small file does.
// The object behind a stream of node:zlib is not a documented interface, and a wrong call of it does not throw but ends
// the process. So it is used only on the lines of Node that were tested with it, and only in the form in which this
// very process was seen to use it itself: `observeCalls()` watches Node make a stream and compress with it, and nothing
// is called that Node did not call before with arguments of the same number and kind (docs/decisions/0011).

/** Lines of Node whose private interface was tested, with the first minor version of each. */
const TESTED_LINES: ReadonlyMap<number, number> = new Map([
  [22, 15],
  [24, 0],
  [25, 9],
  [26, 12],
])

/** Whether this Node is one that was tested. */
export function isTestedNode(version: string = process.versions.node): boolean {
  // Other runtimes say that they are Node, too.
  if ('Bun' in globalThis || 'Deno' in globalThis) return false
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const first = TESTED_LINES.get(major)
  return first !== undefined && minor >= first
}

/** The native object behind a stream. */
interface NativeHandle {
  init(...args: unknown[]): unknown
  writeSync(...args: unknown[]): unknown
  onerror: unknown
}

/** A stream of node:zlib with its private parts. */
interface NativeStream {
  readonly _handle: NativeHandle
  /** Room left in the output and bytes left of the input, after each write. */
  readonly _writeState: Uint32Array
}

/** How Node itself calls the native object. */
interface ObservedCalls {
  /** Arguments of `init`: parameters, pledged size, state, callback and, on newer Nodes, a dictionary. */
  readonly init: readonly unknown[]
}

function ownerOf(handle: object, method: string): object | undefined {
  for (let owner: object | null = handle; owner !== null; owner = Object.getPrototypeOf(owner) as object | null) {
    if (Object.hasOwn(owner, method)) return owner
  }
  return undefined
}

/** Runs `work` and returns the arguments of each call of a method of native objects of this kind. */
function watch(handle: NativeHandle, method: 'init' | 'writeSync', work: () => void): unknown[][] | undefined {
  const owner = ownerOf(handle, method)
  const property = owner === undefined ? undefined : Object.getOwnPropertyDescriptor(owner, method)
  const original: unknown = property?.value
  if (owner === undefined || property?.configurable !== true || typeof original !== 'function') return undefined
  const calls: unknown[][] = []
  Object.defineProperty(owner, method, {
    ...property,
    value(this: unknown, ...args: unknown[]): unknown {
      calls.push(args)
      return Reflect.apply(original, this, args) as unknown
    },
  })
  try {
    work()
  } finally {
    Object.defineProperty(owner, method, property)
  }
  return calls
}

const isNumber = (value: unknown): boolean => typeof value === 'number'
const isBytes = (value: unknown): boolean => value instanceof Uint8Array
const isWords = (value: unknown): boolean => value instanceof Uint32Array
const isNothing = (value: unknown): boolean => value === undefined
const isFunction = (value: unknown): boolean => typeof value === 'function'

function matches(args: readonly unknown[] | undefined, shape: readonly ((value: unknown) => boolean)[]): boolean {
  return args?.length === shape.length && shape.every((fits, at) => fits(args[at]))
}

const INIT_SHAPE = [isWords, isNothing, isWords, isFunction]
const WRITE_SHAPE = [isNumber, isBytes, isNumber, isNumber, isBytes, isNumber, isNumber]

/** Watches Node use its private interface; undefined when it is not used in a form that is known here. */
function observeCalls(): ObservedCalls | undefined {
  const { _handle: handle, _writeState: state } = zlib.createZstdCompress() as unknown as Partial<NativeStream>
  if (handle === undefined || !isWords(state) || state?.length !== 2) return undefined
  const init = watch(handle, 'init', () => void zlib.createZstdCompress())?.[0]
  const write = watch(handle, 'writeSync', () => void zlib.zstdCompressSync(new Uint8Array(100)))?.[0]
  if (!matches(write, WRITE_SHAPE)) return undefined
  const isKnown = matches(init, INIT_SHAPE) || matches(init, [...INIT_SHAPE, isNothing])
  return isKnown && init !== undefined ? { init } : undefined
}

function zstdParameters(): number[] {
  return Object.entries(zlib.constants).flatMap(([name, value]) =>
    name.startsWith('ZSTD_c_') ? [value as unknown as number] : [],
  )
}

function ignore(): void {}

/** Compresses and decompresses on native objects that stay. */
export class PrivateZstd {
  readonly #observed: ObservedCalls
  readonly #compressor = zlib.createZstdCompress() as unknown as NativeStream
  readonly #params = new Uint32Array(Math.max(...zstdParameters()) + 1).fill(0xffff_ffff)
  readonly #paramsOf: (level: number) => Readonly<Record<number, number>>
  readonly #newDecompressor: () => NativeStream
  readonly #bound: (size: number) => number
  #level: number | undefined
  #decompressor: NativeStream
  #output = new Uint8Array(64 * 1024)

  private constructor(observed: ObservedCalls, options: PrivateZstdOptions) {
    this.#observed = observed
    this.#paramsOf = options.compressParams
    this.#bound = options.bound
    this.#newDecompressor = () =>
      zlib.createZstdDecompress({ params: options.decompressParams }) as unknown as NativeStream
    this.#decompressor = this.#newDecompressor()
  }

  /** Undefined where the private interface was not tested or is not used in a known form. Never ends the process. */
  static create(options: PrivateZstdOptions): PrivateZstd | undefined {
    if (!isTestedNode()) return undefined
    const observed = observeCalls()
    return observed === undefined ? undefined : new PrivateZstd(observed, options)
  }

  /** A context of its own for each frame: one that is used again may give other bytes. */
  compress(bytes: Uint8Array, level: number): Uint8Array {
    const { _handle: handle, _writeState: state } = this.#compressor
    const [, pledgedSize, , , ...rest] = this.#observed.init
    handle.init(this.#params32(level), pledgedSize, state, ignore, ...rest)
    const room = this.#bound(bytes.length)
    if (this.#output.length < room) this.#output = new Uint8Array(roomFor(room))
    handle.writeSync(zlib.constants.ZSTD_e_end, bytes, 0, bytes.length, this.#output, 0, room)
    if (state[1] !== 0) throw new Error('zstd left input behind')
    return this.#output.subarray(0, room - (state[0] as number))
  }

  /** Most builds know one level only. */
  #params32(level: number): Uint32Array {
    if (this.#level !== level)
      for (const [parameter, value] of Object.entries(this.#paramsOf(level))) this.#params[Number(parameter)] = value
    this.#level = level
    return this.#params
  }

  decompress(frame: Uint8Array, size: number, out: Uint8Array): Uint8Array {
    const { _handle: handle, _writeState: state } = this.#decompressor
    let failed = false
    handle.onerror = () => {
      failed = true
    }
    handle.writeSync(zlib.constants.ZSTD_e_end, frame, 0, frame.length, out, 0, size)
    if (!failed && state[0] === 0 && state[1] === 0) return out.subarray(0, size)
    // What a context holds after a bad frame is anyone's guess: the next frame gets a new one.
    this.#decompressor = this.#newDecompressor()
    throw new Error('The frame does not give the size that it states')
  }
}

/** Parameters of zstd that the archive format prescribes. */
export interface PrivateZstdOptions {
  readonly compressParams: (level: number) => Readonly<Record<number, number>>
  readonly decompressParams: Readonly<Record<number, number>>
  /** The largest frame that content of this length can give. */
  readonly bound: (size: number) => number
}
