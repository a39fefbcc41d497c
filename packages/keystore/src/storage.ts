/** The two generations of a keystore file as they are there; either may be missing or damaged. */
export interface StoredGenerations {
  readonly current: Uint8Array | undefined
  readonly previous: Uint8Array | undefined
}

/** Where a keystore file lives. The core knows no disk: `/node` has {@link KeystoreStorage} over files. */
export interface KeystoreStorage {
  /** For messages. */
  readonly description: string
  read(): Promise<StoredGenerations>
  /**
   * Puts a new generation in place, atomically.
   *
   * @param previous - What is kept beside it; `undefined` leaves the kept one as it is.
   */
  write(current: Uint8Array, previous: Uint8Array | undefined): Promise<void>
  /** Keeps other writers out until the returned function is called. */
  lock(): Promise<() => Promise<void>>
}

/** A keystore in memory; for tests and browsers. */
export function memoryStorage(
  initial: Partial<StoredGenerations> = {},
): KeystoreStorage & { generations: StoredGenerations } {
  let queue = Promise.resolve()
  return {
    description: 'memory',
    generations: { current: initial.current, previous: initial.previous },
    async read() {
      return this.generations
    },
    async write(current, previous) {
      this.generations = { current, previous: previous ?? this.generations.previous }
    },
    async lock() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const before = queue
      queue = before.then(() => promise)
      await before
      return async () => resolve()
    },
  }
}
