import { matchesDigest } from './digest.ts'
import { isInception, isRotation } from './event.ts'
import type { KeyEvent } from './event.ts'
import { keyText } from './keys.ts'
import { refusal } from './rule.ts'

/** The part of an accepted event that says which keys have been in force. */
export interface KeysInForce {
  /** Ed25519 public keys, 32 bytes each. */
  readonly keys: readonly Uint8Array[]
}

/**
 * Refuses an event of our own that promises a key which it puts in force itself, or which was in force before: a next
 * key protects against the theft of the current one only as long as nobody has had a reason to use it. Readers do not
 * refuse such events, as other implementations write them.
 *
 * @param earlier - Events before this one; they may be only the last few.
 * @throws {@link KelError} `KEL_KEY_REUSED`.
 */
export function checkNextDigests(event: KeyEvent, earlier: readonly KeysInForce[]): void {
  if (!isInception(event) && !isRotation(event)) return
  const { nextDigests } = event
  if (nextDigests.length === 0) return
  const known = new Set(event.keys)
  for (const { keys } of earlier) for (const key of keys) known.add(keyText(key))
  const codes = new Set(nextDigests.map((digest) => digest.slice(0, 1)))
  for (const key of known) {
    // The digest of a key depends on the code alone, so each key is hashed once for each code in use.
    for (const code of codes) {
      const reused = nextDigests.findIndex((digest) => digest.startsWith(code) && matchesDigest(digest, key))
      if (reused < 0) continue
      const when = event.keys.includes(key) ? 'is in force with this very event' : 'was in force before'
      throw refusal('KEL_KEY_REUSED', `Next key ${reused + 1} of event ${event.sn} ${when}`, { key })
    }
  }
}
