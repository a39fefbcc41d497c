import { ed25519Verify } from '@keyturn/primitives'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import type { ReceiptCouple } from './cesr/attachments.ts'
import { parseMatter } from './cesr/matter.ts'
import { matchesDigest } from './digest.ts'
import type { RotationEvent } from './event.ts'
import type { KeyState } from './key-state.ts'
import { refusal } from './rule.ts'

/** What the signatures on an event amount to. */
export interface VerifiedSignatures {
  /** The ones that verify, one per key, in order of index. */
  readonly valid: readonly IndexedSignature[]
  readonly places: ReadonlySet<number>
}

/**
 * Verifies indexed signatures against a key list: the index is checked before it is used, each key counts once, what
 * does not verify is dropped.
 *
 * @throws {@link KelError} `KEL_UNSIGNED`, `KEL_SIGNATURE` (rule `index` or `signature`) when none is left.
 */
export function verifyIndexed(
  signatures: readonly IndexedSignature[],
  publicKeys: readonly Uint8Array[],
  message: Uint8Array,
): VerifiedSignatures {
  if (signatures.length === 0) throw refusal('KEL_UNSIGNED', 'Event carries no signature of its controller')
  const [only] = signatures
  if (signatures.length === 1 && only?.index === 0 && verifies(only, publicKeys[0], message))
    return { valid: signatures, places: firstPlace }
  const valid = new Map<number, IndexedSignature>()
  let outOfRange = 0
  for (const signature of signatures) {
    const key = publicKeys[signature.index]
    if (key === undefined) {
      outOfRange++
      continue
    }
    if (!valid.has(signature.index) && verifies(signature, key, message)) valid.set(signature.index, signature)
  }
  if (valid.size === 0) {
    throw outOfRange === signatures.length
      ? refusal(
          'KEL_SIGNATURE',
          `Signature names key ${signatures[0]?.index ?? 0}, the event has ${publicKeys.length}`,
          { rule: 'index' },
        )
      : refusal('KEL_SIGNATURE', `None of ${signatures.length} signatures verifies under the keys in force`)
  }
  const sorted = valid.size === 1 ? [...valid.values()] : [...valid.values()].sort((a, b) => a.index - b.index)
  return { valid: sorted, places: new Set(valid.keys()) }
}

const firstPlace: ReadonlySet<number> = new Set([0])

function verifies({ code, signature }: IndexedSignature, key: Uint8Array | undefined, message: Uint8Array): boolean {
  return key !== undefined && isEd25519(code) && ed25519Verify(key, message, signature)
}

function isEd25519(code: string): boolean {
  return code === 'A' || code === 'B' || code === '2A' || code === '2B'
}

/** How many of the promised keys a rotation reveals. */
export interface Exposure {
  /** Places in the prior digest list that a valid signature reveals. */
  readonly places: ReadonlySet<number>
  /** The same with the keys of `k` that have not signed yet but could. */
  readonly reachable: ReadonlySet<number>
}

/** Compares the keys that signed a rotation with what the event before promised. */
export function exposedPlaces(state: KeyState, event: RotationEvent, signatures: VerifiedSignatures): Exposure {
  const places = new Set<number>()
  for (const { index, ondex } of signatures.valid) {
    const digest = ondex === undefined ? undefined : state.nextDigests[ondex]
    const key = event.keys[index]
    if (digest !== undefined && key !== undefined && matchesDigest(digest, key)) places.add(ondex as number)
  }
  if (state.nextThreshold.met(places)) return { places, reachable: places }
  const reachable = new Set(places)
  event.keys.forEach((key, index) => {
    if (signatures.places.has(index)) return
    const place = state.nextDigests.findIndex((digest) => matchesDigest(digest, key))
    if (place >= 0) reachable.add(place)
  })
  return { places, reachable }
}

const noWitnesses: ReadonlyMap<number, Uint8Array> = new Map()

/** Places in the witness list whose signature verifies: `-B` signatures and, where they count, `-C` couples. */
export function verifyWitnesses(
  witnesses: readonly string[],
  message: Uint8Array,
  indexed: readonly IndexedSignature[],
  couples: readonly ReceiptCouple[] = [],
): ReadonlyMap<number, Uint8Array> {
  if (witnesses.length === 0) return noWitnesses
  const places = new Map<number, Uint8Array>()
  const count = (place: number, signature: Uint8Array): void => {
    const witness = witnesses[place]
    if (witness === undefined || places.has(place)) return
    if (ed25519Verify(parseMatter(witness, 'b').raw, message, signature)) places.set(place, signature)
  }
  for (const { code, index, signature } of indexed) if (isEd25519(code)) count(index, signature)
  for (const { prefix, code, signature } of couples) if (code === '0B') count(witnesses.indexOf(prefix), signature)
  return places
}
