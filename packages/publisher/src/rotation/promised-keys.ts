import { ed25519PublicKey, ed25519Verify, hexDecode, hexEncode, systemRandom, wipe } from '@keyturn/primitives'
import { nextDigestOf, rotate } from '@keyturn/kel/owner'
import { KelError } from '@keyturn/kel'
import type { KeyState } from '@keyturn/kel'
import type { RotationPlan, Signer, SignedEvent } from '@keyturn/kel/owner'
import { pathExists } from '@keyturn/primitives/node'
import { openOwnLog } from '../identity/identity.ts'
import { readLogCopy } from '../identity/log-copy.ts'
import type { Identity, NextKeyPlace } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import type { Keys } from '../keys.ts'
import type { KeyPlace, RotationTerms } from './key-state.ts'

/** A promised key that is at hand. */
export interface RevealedKey extends NextKeyPlace {
  readonly publicKey: Uint8Array
  /** Which of the promises it keeps. */
  readonly place: number
}

/**
 * Finds the promised keys among the files that are there.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when too few are at hand, or none was promised.
 */
export async function findRevealed(
  identity: Identity,
  state: KeyState,
  nextKeyFiles?: readonly string[],
): Promise<RevealedKey[]> {
  if (state.nextDigests.length === 0)
    throw new PublisherError('CLI_TURN_UNREADY', 'This identity promised no next key, so it cannot rotate')
  const revealed: RevealedKey[] = []
  const files = nextKeyFiles ?? identity.next.map(({ file }) => file)
  for (const file of files) {
    if (!(await pathExists(file))) continue
    const keys = await identity.nextKeys(file)
    for (const { alias } of keys.store.list()) {
      const publicKey = await keys.publicKey(alias)
      const place = state.nextDigests.indexOf(nextDigestOf(publicKey))
      if (place >= 0 && !revealed.some((other) => other.place === place))
        revealed.push({ alias, file, publicKey, place })
    }
  }
  if (state.nextThreshold.met(new Set(revealed.map(({ place }) => place))))
    return revealed.sort((a, b) => a.place - b.place)
  throw new PublisherError(
    'CLI_TURN_UNREADY',
    state.nextDigests.length === 1
      ? 'The next identity key is not at hand: only it can replace the current one'
      : `${revealed.length} of the ${state.nextDigests.length} promised next keys are at hand, ` +
          `${state.nextThreshold.fewest} needed`,
    {
      hint:
        (await hintOfCopy(identity, state, files)) ??
        'Nothing was changed. Bring the file with the next key, no old copy of it: --next-key-file FILE ' +
          `(looked for in ${files.join(', ')})`,
    },
  )
}

/** The way out when a rotation went on elsewhere: the medium with the next key has the log that it belongs to. */
async function hintOfCopy(identity: Identity, { sn }: KeyState, files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    const copy = await readLogCopy(identity, file).catch(ignoreForged)
    if (copy !== undefined && copy.log.state.sn > sn)
      return `Nothing was changed. The identity was rotated elsewhere: run "keyturn id import --next-key-file ${file}"`
  }
  return undefined
}

/** What is not a log of this identity helps nobody; that it is there hides no other hint. */
function ignoreForged(error: unknown): undefined {
  if (error instanceof KelError) return undefined
  throw error
}

/**
 * The file that holds a key now: where the journal says, else where flags and home say.
 *
 * @returns undefined when it is in none of them.
 */
export async function locateKey(
  identity: Identity,
  { alias, file, publicKey }: KeyPlace,
  nextKeyFiles: readonly string[] = [],
): Promise<Keys | undefined> {
  for (const candidate of new Set([...nextKeyFiles, file, ...identity.next.map((place) => place.file)])) {
    if (!(await pathExists(candidate))) continue
    const keys = await identity.nextKeys(candidate)
    if (keys.has(alias) && hexEncode(await keys.publicKey(alias)) === publicKey) return keys
  }
  return undefined
}

/**
 * As {@link locateKey}, for steps that cannot do without.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`.
 */
export async function requireKey(identity: Identity, place: KeyPlace, nextKeyFiles?: readonly string[]): Promise<Keys> {
  const keys = await locateKey(identity, place, nextKeyFiles)
  if (keys !== undefined) return keys
  throw new PublisherError(
    'CLI_TURN_UNREADY',
    `No file at hand holds the next key ${place.alias} that this rotation began with`,
    {
      hint: `Bring "${place.file}" back, or say where it is now: --next-key-file FILE`,
    },
  )
}

/**
 * Signs a fresh message with a key where it is stored now, and verifies: it can be read back and it is the right one.
 */
export async function testSign(keys: Keys, alias: string, publicKey: Uint8Array): Promise<void> {
  const message = systemRandom(32)
  const { sign } = await keys.documentSigner(alias)
  if (!ed25519Verify(publicKey, message, await sign(message)))
    throw new PublisherError('CLI_INTERNAL', `Key "${alias}" does not sign as it should`)
}

/** What the rotation will say, given the next keys that come after it. */
export function rotationPlan(
  state: KeyState,
  revealed: readonly RevealedKey[],
  future: readonly Uint8Array[],
  terms: RotationTerms,
): RotationPlan {
  // Promised keys that are not at hand stay promised: nothing of theirs was revealed.
  const kept = state.nextDigests.filter((_, place) => !revealed.some((key) => key.place === place))
  return {
    keys: revealed.map(({ publicKey }) => publicKey),
    threshold: 1,
    nextKeys: future,
    nextDigests: kept,
    nextThreshold: Math.min(state.nextThreshold.fewest, future.length + kept.length),
    seals: terms.seals,
    addWitnesses: terms.addWitnesses,
    removeWitnesses: terms.removeWitnesses,
    witnessThreshold: terms.witnessThreshold,
  }
}

/** Signs with keys that are in several files. */
export function gatherSigner(
  identity: Identity,
  revealed: readonly RevealedKey[],
  nextKeyFiles?: readonly string[],
): Signer {
  return {
    publicKeys: revealed.map(({ publicKey }) => publicKey),
    async sign(message, index) {
      const key = revealed[index]
      if (key === undefined) throw new RangeError(`No key ${index}`)
      const keys = await requireKey(identity, { ...placeOf(key) }, nextKeyFiles)
      const { sign } = await keys.documentSigner(key.alias)
      return await sign(message)
    },
  }
}

/** A key as a journal names it. */
export function placeOf({ alias, file, publicKey }: NextKeyPlace & { readonly publicKey: Uint8Array }): KeyPlace {
  return { alias, file, publicKey: hexEncode(publicKey) }
}

/** The promised keys of a journal, as the log knows them. */
export function revealedOf(state: KeyState, places: readonly KeyPlace[]): RevealedKey[] {
  return places.map(({ alias, file, publicKey }) => {
    const raw = hexDecode(publicKey)
    return { alias, file, publicKey: raw, place: state.nextDigests.indexOf(nextDigestOf(raw)) }
  })
}

/** What a dry run found: everything was done but nothing written. */
export interface RotationPreview {
  readonly before: KeyState
  readonly after: KeyState
  /** The event as it would be, but for the next keys: those are made again when it is meant. */
  readonly event: SignedEvent
  /** Places of the promised keys that were at hand. */
  readonly revealed: readonly number[]
  /** The key that comes into force. */
  readonly first: KeyPlace
}

/**
 * Does everything of a rotation but writing: opens both keystores, compares the next keys with the promise, builds,
 * signs and verifies the event with next keys that are thrown away.
 */
export async function previewRotation(
  identity: Identity,
  terms: RotationTerms,
  nextKeyFiles?: readonly string[],
): Promise<RotationPreview> {
  const { state } = await openOwnLog(identity)
  await identity.keys()
  const revealed = await findRevealed(identity, state, nextKeyFiles)
  const seeds = revealed.map(() => systemRandom(32))
  try {
    const future = seeds.map((seed) => ed25519PublicKey(seed))
    const event = await rotate(
      state,
      rotationPlan(state, revealed, future, terms),
      gatherSigner(identity, revealed, nextKeyFiles),
    )
    const [first] = revealed.map(placeOf)
    if (first === undefined) throw new PublisherError('CLI_INTERNAL', 'A rotation that reveals no key was accepted')
    return { before: state, after: event.state, event, revealed: revealed.map(({ place }) => place), first }
  } finally {
    wipe(...seeds)
  }
}
