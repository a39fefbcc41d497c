import type { FileHandle, FileSystem } from '@keyturn/primitives/node'

type Call = (...args: unknown[]) => Promise<unknown>

/** A file system whose calls can be waited for. */
export interface Tracked {
  readonly fs: FileSystem
  /**
   * Waits until no call is under way. A process that is killed starts no call after its death; one that only pretends
   * has calls under way that still take effect, on a slow volume in the middle of the recovery.
   */
  settle(): Promise<void>
}

/** Tracks the calls of a file system and of the files that are opened through it. */
export function tracked(fs: FileSystem): Tracked {
  const pending = new Set<Promise<unknown>>()
  const track = async (call: Promise<unknown>): Promise<unknown> => {
    pending.add(call)
    try {
      return await call
    } finally {
      pending.delete(call)
    }
  }
  const file = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? (...args: unknown[]) => follow(value.apply(target, args)) : value
      },
    })
  const follow = (result: unknown): unknown => (result instanceof Promise ? track(result) : result)
  const calls = Object.entries(fs).map(([name, call]) => {
    const one: Call = async (...args) => {
      const result = await track((call as Call)(...args))
      return name === 'open' ? file(result as FileHandle) : result
    }
    return [name, one]
  })
  return {
    fs: Object.fromEntries(calls) as unknown as FileSystem,
    async settle() {
      while (pending.size > 0) await Promise.allSettled(pending)
    },
  }
}
