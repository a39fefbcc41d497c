import { setImmediate as nextTurn } from 'node:timers/promises'
import { verifyLogAsync } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import { OneAtATime, sha256Hex } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'

/** Tasks that wait for their turn; each may cost the processor a second. */
const MAX_WAITING = 8
/** Verified logs that a process remembers. */
const MAX_VERIFIED = 200

/**
 * Work that anybody may cause and that costs the processor: one task at a time, with a break before each, so that other
 * requests come in between however many wait.
 */
export class BusyQueue {
  readonly #what: string
  readonly #queue = new OneAtATime()
  #waiting = 0

  /** @param what - Who is busy, as the refusal says. */
  constructor(what: string) {
    this.#what = what
  }

  /** @throws ServerError `SRV_RATE` while too many wait. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING)
      throw new ServerError('SRV_RATE', `${this.#what} is busy`, { details: { retryAfterS: 5 } })
    this.#waiting += 1
    try {
      return await this.#queue.run(async () => {
        await nextTurn()
        return work()
      })
    } finally {
      this.#waiting -= 1
    }
  }
}

const shown = new BusyQueue('The verification of key event logs')
const remembered = new Map<string, VerifiedLog>()

function remember(key: string, log: VerifiedLog): VerifiedLog {
  remembered.delete(key)
  remembered.set(key, log)
  const [oldest] = remembered.keys()
  if (remembered.size > MAX_VERIFIED && oldest !== undefined) remembered.delete(oldest)
  return log
}

/** The stored log of an identity: verified once by each process that reads it, with pauses, then remembered. */
export async function storedLog(prefix: string, bytes: Uint8Array): Promise<VerifiedLog> {
  const key = `${prefix}/${sha256Hex(bytes)}`
  return remember(key, remembered.get(key) ?? (await verifyLogAsync(bytes, { prefix, pause: nextTurn })))
}

/**
 * A log that somebody shows, verified in its turn and not remembered: a stranger has many, each a little different.
 *
 * @throws KelError for an invalid log; ServerError `SRV_RATE` while others wait.
 */
export async function shownLog(prefix: string, bytes: Uint8Array): Promise<VerifiedLog> {
  const known = remembered.get(`${prefix}/${sha256Hex(bytes)}`)
  return known ?? (await shown.run(() => verifyLogAsync(bytes, { prefix, pause: nextTurn })))
}
