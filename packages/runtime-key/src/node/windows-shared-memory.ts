import { hexEncode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { RUNTIME_KEY_BLOB_LENGTH } from '../blob.ts'
import { RuntimeKeyError } from '../errors.ts'
import type { SharedMemory, SharedMemoryProvider } from './shared-memory.ts'

const PAGE_READWRITE = 0x04
const FILE_MAP_ALL_ACCESS = 0xf001f
const ERROR_ALREADY_EXISTS = 183

/** The five functions of kernel32 that a named mapping needs. Addresses and handles are opaque. */
export interface WindowsMappingApi {
  createFileMapping(protection: number, size: number, name: string): unknown
  lastError(): number
  mapView(handle: unknown, access: number, size: number): unknown
  /** A window on the mapped memory, not a copy. */
  view(address: unknown, size: number): Uint8Array
  unmapView(address: unknown): void
  closeHandle(handle: unknown): void
}

/**
 * A named mapping `Local\M2PackSharedKeys-<random>` of Windows. It lives in memory alone and goes with the last
 * handle, so a killed process leaves none.
 */
export function windowsSharedMemory({
  random,
  api,
}: {
  random: RandomSource
  api?: WindowsMappingApi
}): SharedMemoryProvider {
  return {
    async create(blob) {
      const kernel = api ?? (await loadKernel32())
      return createMapping(kernel, `Local\\M2PackSharedKeys-${hexEncode(random(16))}`, blob)
    },
    sweep: () => Promise.resolve(0),
  }
}

function createMapping(kernel: WindowsMappingApi, name: string, blob: Uint8Array): SharedMemory {
  const handle = kernel.createFileMapping(PAGE_READWRITE, RUNTIME_KEY_BLOB_LENGTH, name)
  const error = kernel.lastError()
  if (handle === null || handle === undefined) {
    throw new RuntimeKeyError('RK_DELIVERY_UNSUPPORTED', `Cannot make a named mapping: error ${error}`)
  }
  if (error === ERROR_ALREADY_EXISTS) {
    kernel.closeHandle(handle)
    throw new RuntimeKeyError('RK_SHM_OCCUPIED', 'Cannot make a named mapping: the name is taken')
  }
  const address = kernel.mapView(handle, FILE_MAP_ALL_ACCESS, RUNTIME_KEY_BLOB_LENGTH)
  const memory = kernel.view(address, RUNTIME_KEY_BLOB_LENGTH)
  memory.set(blob)
  let open = true
  return {
    name,
    taken: () => Promise.resolve(!open || memory.every((byte) => byte === 0)),
    remove: () => {
      if (open) {
        open = false
        memory.fill(0)
        kernel.unmapView(address)
        kernel.closeHandle(handle)
      }
      return Promise.resolve()
    },
  }
}

/** What of koffi is used; the package is installed by those who need it, under Windows alone. */
interface Koffi {
  load(library: string): { func(definition: string): (...args: unknown[]) => unknown }
  view(address: unknown, size: number): ArrayBuffer
}

async function loadKernel32(): Promise<WindowsMappingApi> {
  const name = 'koffi'
  let koffi: Koffi
  let kernel32: ReturnType<Koffi['load']>
  try {
    koffi = ((await import(name)) as { default: Koffi }).default
    kernel32 = koffi.load('kernel32.dll')
  } catch (cause) {
    throw new RuntimeKeyError('RK_DELIVERY_UNSUPPORTED', 'Named mappings need Windows and the package "koffi"', {
      cause,
    })
  }
  const create = kernel32.func(
    'void *__stdcall CreateFileMappingW(intptr_t file, void *security, uint32_t protect, uint32_t high, uint32_t ' +
      'low, str16 name)',
  )
  const map = kernel32.func(
    'void *__stdcall MapViewOfFile(void *mapping, uint32_t access, uint32_t high, uint32_t low, size_t size)',
  )
  const unmap = kernel32.func('bool __stdcall UnmapViewOfFile(void *address)')
  const close = kernel32.func('bool __stdcall CloseHandle(void *handle)')
  const lastError = kernel32.func('uint32_t __stdcall GetLastError()')
  const INVALID_HANDLE_VALUE = -1
  return {
    createFileMapping: (protection, size, mapping) => create(INVALID_HANDLE_VALUE, null, protection, 0, size, mapping),
    lastError: () => Number(lastError()),
    mapView: (handle, access, size) => map(handle, access, 0, 0, size),
    view: (address, size) => new Uint8Array(koffi.view(address, size)),
    unmapView: (address) => void unmap(address),
    closeHandle: (handle) => void close(handle),
  }
}
