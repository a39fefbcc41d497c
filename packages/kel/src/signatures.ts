import { ed25519Verify, equalBytes } from '@keyturn/primitives'
import type { IndexedSignature } from './cesr/indexed-signature.ts'
import type { ReceiptCouple } from './cesr/attachments.ts'
import { parseMatter } from './cesr/matter.ts'
import { matchesDigest } from './digest.ts'
import type { RotationEvent } from './event.ts'
import type { KeyState } from './key-state.ts'
import { MAX_FAILED_SIGNATURES, MAX_SIGNATURES_PER_KEY } from './limits.ts'
import { refusal } from './rule.ts'

/** What the signatures on an event amount to. */
export interface VerifiedSignatures {
  /** The ones that verify, one per key, in order of index. */
  readonly valid: readonly IndexedSignature[]
  readonly places: ReadonlySet<number>
  /**
   * The same with every other second place that a signature was spelled with. No signature covers its second place, so
   * anybody can respell it: which spelling is right only the promise of the event before can tell.
   */
  readonly spellings: readonly IndexedSignature[]
}

/**
 * Verifies indexed signatures against a key list: the index is checked before it is used, each key counts once, what
 * does not verify is dropped. For each key at most two different signatures are tried.
 *
 * @throws {@link KelError} `KEL_UNSIGNED`, `KEL_SIGNATURE` (rule `index` or `signature`) when none is left or too many
 *   fail.
 */
export function verifyIndexed(
  signatures: readonly IndexedSignature[],
  publicKeys: readonly Uint8Array[],
  message: Uint8Array,
): VerifiedSignatures {
  const [only] = signatures
  if (only === undefined) throw refusal('KEL_UNSIGNED', 'Event carries no signature of its controller')
  if (signatures.length === 1 && only.index === 0 && verifies(only, publicKeys[0], message))
    return { valid: signatures, places: FIRST_PLACE, spellings: signatures }
  const found = new Map<number, IndexedSignature[]>()
  const triesOf = new Map<number, number>()
  let failed = 0
  for (const signature of signatures) {
    const { index } = signature
    const key = publicKeys[index]
    if (key === undefined) continue
    const same = found.get(index)
    if (same !== undefined) {
      addSpelling(same, signature)
      continue
    }
    const tries = triesOf.get(index) ?? 0
    if (tries === MAX_SIGNATURES_PER_KEY) continue
    if (verifies(signature, key, message)) found.set(index, [signature])
    else {
      triesOf.set(index, tries + 1)
      if (++failed > MAX_FAILED_SIGNATURES)
        throw refusal('KEL_SIGNATURE', `More than ${MAX_FAILED_SIGNATURES} signatures of the event do not verify`)
    }
  }
  if (found.size === 0) throw noneVerifies(signatures, publicKeys.length)
  const spellings = [...found].sort(([a], [b]) => a - b).map(([, list]) => list)
  return {
    valid: spellings.map(([first]) => first as IndexedSignature),
    places: new Set(found.keys()),
    spellings: spellings.flat(),
  }
}

function addSpelling(known: IndexedSignature[], signature: IndexedSignature): void {
  if (known.some(({ ondex }) => ondex === signature.ondex)) return
  // The bytes are those that verified already: only the places differ, and nothing has to be computed.
  if (equalBytes(known[0]?.signature ?? NOTHING, signature.signature)) known.push(signature)
}

function noneVerifies(signatures: readonly IndexedSignature[], keyCount: number): Error {
  const first = signatures[0]?.index ?? 0
  return signatures.every(({ index }) => index >= keyCount)
    ? refusal('KEL_SIGNATURE', `Signature names key ${first}, the event has ${keyCount}`, { rule: 'index' })
    : refusal('KEL_SIGNATURE', `None of ${signatures.length} signatures verifies under the keys in force`)
}

const FIRST_PLACE: ReadonlySet<number> = new Set([0])
const NOTHING = new Uint8Array(0)

/**
 * Signatures that verified before, with the key and the very bytes: an event that waits is looked at again whenever
 * something arrives for it, and must not cost a verification each time.
 */
const verifiedBefore = new WeakMap<IndexedSignature, { readonly key: string; readonly message: Uint8Array }>()

/** Remembers that signatures verify under their keys over `message`, as long as these very objects live. */
export function rememberVerified(
  signatures: readonly IndexedSignature[],
  keys: readonly Uint8Array[],
  message: Uint8Array,
): void {
  for (const signature of signatures) {
    const key = keys[signature.index]
    if (key !== undefined) verifiedBefore.set(signature, { key: keyName(key), message })
  }
}

function keyName(key: Uint8Array): string {
  return String.fromCharCode(...key)
}

function verifies(signature: IndexedSignature, key: Uint8Array | undefined, message: Uint8Array): boolean {
  if (key === undefined || !isEd25519(signature.code)) return false
  const before = verifiedBefore.get(signature)
  if (before !== undefined && before.message === message && before.key === keyName(key)) return true
  return ed25519Verify(key, message, signature.signature)
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
  /** One signature per key, in the spelling that reveals a promised key where there is one. */
  readonly valid: readonly IndexedSignature[]
}

/** Compares the keys that signed a rotation with what the event before promised. Each key reveals one place at most. */
export function exposedPlaces(state: KeyState, event: RotationEvent, signatures: VerifiedSignatures): Exposure {
  const places = new Set<number>()
  const chosen = new Map<number, IndexedSignature>(signatures.valid.map((signature) => [signature.index, signature]))
  const revealed = new Set<number>()
  for (const signature of signatures.spellings) {
    const { index, ondex } = signature
    if (revealed.has(index)) continue
    const digest = ondex === undefined ? undefined : state.nextDigests[ondex]
    const key = event.keys[index]
    if (digest === undefined || key === undefined || !matchesDigest(digest, key)) continue
    places.add(ondex as number)
    revealed.add(index)
    chosen.set(index, signature)
  }
  const valid = [...chosen.values()]
  if (state.nextThreshold.met(places)) return { places, reachable: places, valid }
  const reachable = new Set(places)
  event.keys.forEach((key, index) => {
    if (signatures.places.has(index)) return
    const place = state.nextDigests.findIndex((digest) => matchesDigest(digest, key))
    if (place >= 0) reachable.add(place)
  })
  return { places, reachable, valid }
}

const NO_WITNESSES: ReadonlyMap<number, Uint8Array> = new Map()

/**
 * Places in the witness list whose signature verifies: `-B` signatures and, where they count, `-C` couples. For each
 * witness at most two signatures are tried; once too many of one message fail, the others are not looked at.
 */
export function verifyWitnesses(
  witnesses: readonly string[],
  message: Uint8Array,
  indexed: readonly IndexedSignature[],
  couples: readonly ReceiptCouple[] = [],
): ReadonlyMap<number, Uint8Array> {
  if (witnesses.length === 0) return NO_WITNESSES
  const found = new Map<number, Uint8Array>()
  const count = (signatures: Iterable<IndexedSignature>): void => {
    const triesOf = new Map<number, number>()
    let failed = 0
    for (const signature of signatures) {
      const { index } = signature
      const witness = witnesses[index]
      const tries = triesOf.get(index) ?? 0
      if (witness === undefined || found.has(index) || tries === MAX_SIGNATURES_PER_KEY) continue
      if (verifies(signature, parseMatter(witness, 'b').raw, message)) found.set(index, signature.signature)
      else if (++failed > MAX_FAILED_SIGNATURES) return
      else triesOf.set(index, tries + 1)
    }
  }
  count(indexed)
  // Each kind is counted for itself: what somebody made up of one kind does not use up the tries of the other.
  count(
    couples.flatMap(({ prefix, code, signature }) => {
      const index = code === '0B' ? witnesses.indexOf(prefix) : -1
      return index < 0 ? [] : [{ code: 'A', index, ondex: index, signature }]
    }),
  )
  return found
}
