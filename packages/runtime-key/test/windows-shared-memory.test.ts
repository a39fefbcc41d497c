import { describe, expect, it } from 'vitest'
import { writeRuntimeKeyBlob } from '../src/index.ts'
import { sharedMemoryDelivery, windowsSharedMemory } from '../src/node/index.ts'
import type { WindowsMappingApi } from '../src/node/index.ts'
import { makeKey, rejectionOf } from './fixtures.ts'

/** kernel32 as far as it is used; `exists` is what GetLastError says of a taken name. */
function kernelDouble(lastError = 0): { api: WindowsMappingApi; memory: Uint8Array; calls: string[] } {
  const memory = new Uint8Array(84)
  const calls: string[] = []
  const api: WindowsMappingApi = {
    createFileMapping: (_protection, size, name) => {
      calls.push(`create ${size} ${name}`)
      return lastError === 5 ? null : {}
    },
    lastError: () => lastError,
    mapView: () => ({}),
    view: () => memory,
    unmapView: () => void calls.push('unmap'),
    closeHandle: () => void calls.push('close'),
  }
  return { api, memory, calls }
}
const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(0xab)

describe('windowsSharedMemory(), against a double of kernel32', () => {
  it('fills a mapping with a random name, sees that it was taken, and zeroes before it closes', async () => {
    const { api, memory, calls } = kernelDouble()
    const mapping = await windowsSharedMemory({ random, api }).create(writeRuntimeKeyBlob(makeKey()))
    expect(mapping.name).toBe(`Local\\M2PackSharedKeys-${'ab'.repeat(16)}`)
    expect([...memory]).toEqual([...writeRuntimeKeyBlob(makeKey())])
    expect(await mapping.taken()).toBe(false)
    memory.fill(0)
    expect(await mapping.taken()).toBe(true)
    memory.fill(1)
    await mapping.remove()
    await mapping.remove()
    expect([...memory]).toEqual([...new Uint8Array(84)])
    expect(calls).toEqual([`create 84 ${mapping.name}`, 'unmap', 'close'])
  })

  it('refuses a name that is taken, and says so when there is no mapping (row 104)', async () => {
    const taken = kernelDouble(183)
    expect(await rejectionOf(windowsSharedMemory({ random, api: taken.api }).create(new Uint8Array(84)))).toBe(
      'RK_SHM_OCCUPIED',
    )
    expect(taken.calls.at(-1)).toBe('close')
    expect(
      await rejectionOf(windowsSharedMemory({ random, api: kernelDouble(5).api }).create(new Uint8Array(84))),
    ).toBe('RK_DELIVERY_UNSUPPORTED')
    const delivery = sharedMemoryDelivery({ provider: windowsSharedMemory({ random, api: taken.api }) })
    expect(await rejectionOf(delivery.deliver(makeKey(), { file: '/bin/true' }))).toBe('RK_SHM_OCCUPIED')
  })

  it('names the package that is missing elsewhere', async () => {
    expect(await rejectionOf(windowsSharedMemory({ random }).create(new Uint8Array(84)))).toBe(
      'RK_DELIVERY_UNSUPPORTED',
    )
  })
})
