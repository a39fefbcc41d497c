// The one way an identity rotates to its promised key, in steps that a journal remembers. `keyturn id rotate` and
// `emergency rotate-now` run them alone; `keyturn rotate identity|release|head` and `roles seal` put them between their
// own.
//
// Order: everything that the rotation needs is checked, and it is tried with keys that are thrown away; then the next
// keys are made, sealed, read back and have signed a test message; the rotation is built, signed by the revealed keys
// and verified by the very rules of a reader; the revealed key is put beside the current one and has signed a test
// message from there; only then is the event appended; then the names change; at last old keys are removed. A crash
// before the append leaves the old identity whole, one after it is completed by the next call.

import { hexDecode, hexEncode } from '@keyturn/primitives'
import { KelError } from '@keyturn/kel'
import { readSignedEvent, rotate } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import { checkAlias, KeystoreError, nextAlias, parseNextAlias } from '@keyturn/keystore'
import { openOwnLog } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { writeLogCopies } from '../identity/log-copy.ts'
import { requireWitnesses } from '../identity/receipts.ts'
import { dropSealed, sealsOfSigned } from '../identity/signed-list.ts'
import { PublisherError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { Keys } from '../keys.ts'
import { dropRotation, readRotation, runRotationSteps } from './journal.ts'
import type { RotationRecord, RotationStep, RunOptions } from './journal.ts'
import { eventIn, isAlias, keyRotation, madeIn, stagedIn } from './key-state.ts'
import type { KeyPlace, KeyRotationState, RotationTerms } from './key-state.ts'
import {
  findRevealed,
  gatherSigner,
  locateKey,
  placeOf,
  previewRotation,
  requireKey,
  revealedOf,
  rotationPlan,
  testSign,
} from './promised-keys.ts'
import { requireRoom } from './room.ts'

/** What the rotation of an identity's key is to do beyond rotating it. */
export interface KeyRotationPlan<State extends KeyRotationState = KeyRotationState> {
  /** What the rotation says, given the steps before; asked once, then in the journal. */
  readonly terms: (state: State) => RotationTerms
  /** Collects witness signatures before the event is appended; returns the message with them. */
  readonly collect: (event: SignedEvent) => Promise<Uint8Array>
  readonly nowMs: number
  /** Alias of the key that comes into force; default: the next number on a release identity, else the alias stays. */
  readonly nextKeyAlias?: string | undefined
  /** Files to look for next keys in, instead of those written down. */
  readonly nextKeyFiles?: readonly string[] | undefined
  /** Keep the retired key in the keystore. Default: it is removed. */
  readonly keepOldKey?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Part of a plan: where keys are, and what they are called. */
type LocalChoices = Pick<KeyRotationPlan, 'nextKeyAlias' | 'nextKeyFiles' | 'signal'>

/** A step that adds to the part of the state that every rotation of an identity has. */
type KeyStep<State extends KeyRotationState> = RotationStep<State, Partial<KeyRotationState>>

/** The alias of a key that a rotation promises: `<alias>--next-<sn>` on a named identity, else the next number. */
function promisedAlias(
  keys: Keys,
  identity: Identity,
  revealed: string,
  promise: { alias: string; sn: number },
): string {
  const name = nextAlias(promise.alias, promise.sn)
  return identity.kind === 'named' && isAlias(name) && !keys.has(name) ? name : freshAlias(keys, revealed)
}

/** An alias that follows and is free in a keystore. */
function freshAlias(keys: Keys, alias: string): string {
  const base = parseNextAlias(alias)?.alias ?? alias
  const numbered = /\/\d+$/.test(base) ? base : `${base}/1`
  let next = followingAlias(numbered)
  while (keys.has(next)) next = followingAlias(next)
  return next
}

function makeStep<State extends KeyRotationState>(identity: Identity, plan: KeyRotationPlan<State>): KeyStep<State> {
  return {
    name: 'identity-make',
    title: 'make the next identity keys, read them back and test them',
    async run(rotation) {
      const { state } = await openOwnLog(identity)
      // A keystore that does not open is found before anything is made.
      await identity.keys()
      const revealed = await findRevealed(identity, state, plan.nextKeyFiles)
      const future: KeyPlace[] = []
      for (const { file, alias } of revealed) {
        const keys = await identity.nextKeys(file)
        // A key made by an earlier try was promised nowhere: it is used.
        const taken = [...revealed, ...future].filter((key) => key.file === file).map((key) => key.alias)
        const unpromised = keys.store
          .list()
          .map((entry) => entry.alias)
          .find((name) => !taken.includes(name))
        const promise = { alias: plan.nextKeyAlias ?? identity.alias, sn: state.sn + 1 }
        const fresh = unpromised ?? promisedAlias(keys, identity, alias, promise)
        const publicKey = await keys.makeSigning(fresh, 'identity')
        await testSign(keys, fresh, publicKey)
        future.push({ alias: fresh, file, publicKey: hexEncode(publicKey) })
      }
      return {
        made: {
          prior: state.said,
          retired: identity.alias,
          atMs: plan.nowMs,
          revealed: revealed.map(placeOf),
          future,
          terms: plan.terms(rotation),
          nextAlias: plan.nextKeyAlias,
        },
      }
    },
  }
}

function signStep<State extends KeyRotationState>(identity: Identity, plan: KeyRotationPlan<State>): KeyStep<State> {
  return {
    name: 'identity-sign',
    title: 'rotate: build the event and sign it with the promised key',
    async run(rotation) {
      const kel = await openOwnLog(identity)
      const { state, events } = kel
      const made = madeIn(rotation)
      const revealed = revealedOf(state, made.revealed)
      const future = made.future.map(({ publicKey }) => hexDecode(publicKey))
      // Asked for now that the journal is there: until this rotation is over, the key that leaves signs nothing.
      const terms = { ...made.terms, seals: [...made.terms.seals, ...(await sealsOfSigned(identity, kel))] }
      const event = await rotate(
        state,
        { ...rotationPlan(state, revealed, future, terms), history: events },
        gatherSigner(identity, revealed, plan.nextKeyFiles),
      )
      const { sn, said, message } = event
      return { event: { sn, said, message, witnesses: event.state.witnesses.length } }
    },
  }
}

/** Witnesses sign one event for a place and never another: the one they are shown is in the journal already. */
function witnessStep<State extends KeyRotationState>(identity: Identity, plan: KeyRotationPlan<State>): KeyStep<State> {
  return {
    name: 'identity-witness',
    title: 'collect the receipts of the witnesses, if there are any',
    async run(rotation) {
      const event = eventIn(rotation)
      if (event.witnesses === 0) return undefined
      const kel = await openOwnLog(identity)
      if (kel.events.some(({ said }) => said === event.said)) return undefined
      return { event: { ...event, message: await plan.collect(readSignedEvent(event.message, kel.state)) } }
    },
  }
}

/**
 * The alias that the new current key gets: the one that is asked for now, else the one asked for at the beginning, else
 * the one it has in its file on a release identity; it stays on a named one. One that names another key is not used.
 */
async function aliasFor(identity: Identity, first: KeyPlace, asked: readonly (string | undefined)[]): Promise<string> {
  const keys = await identity.keys()
  const usual = identity.kind === 'release' ? first.alias : identity.alias
  for (const alias of [...asked, usual])
    if (alias !== undefined && (await isFree(keys, identity, alias, first))) return alias
  return freshAlias(keys, usual)
}

/** Whether an alias is free for a key, names it already, or names the key that it replaces. */
async function isFree(keys: Keys, identity: Identity, alias: string, { publicKey }: KeyPlace): Promise<boolean> {
  return alias === identity.alias || !keys.has(alias) || hexEncode(await keys.publicKey(alias)) === publicKey
}

/** The key that comes into force, in the keystore of the identity before the log says so. */
function stageStep<State extends KeyRotationState>(identity: Identity, plan: KeyRotationPlan<State>): KeyStep<State> {
  return {
    name: 'identity-stage',
    title: 'put the new current key into the keystore and test it',
    async run(rotation) {
      const { revealed, nextAlias: asked } = madeIn(rotation)
      const [first] = revealed
      if (first === undefined)
        throw new PublisherError('CLI_TURN_JOURNAL', 'The journal of the rotation reveals no key')
      const keys = await identity.keys()
      const alias = await aliasFor(identity, first, [plan.nextKeyAlias, asked])
      const until = alias === identity.alias ? nextAlias(alias, eventIn(rotation).sn) : alias
      if (!keys.has(until))
        await (
          await requireKey(identity, first, plan.nextKeyFiles)
        ).lend(first.alias, (seed) => keys.add(until, 'identity', seed))
      await testSign(keys, until, hexDecode(first.publicKey))
      return { staged: { alias, until } }
    },
  }
}

function appendStep<State extends KeyRotationState>(identity: Identity): KeyStep<State> {
  return {
    name: 'identity-append',
    title: 'append the rotation to the log',
    async run(rotation) {
      const kel = await openOwnLog(identity)
      const { said, message } = eventIn(rotation)
      if (kel.events.some((event) => event.said === said)) return undefined
      if (kel.state.said !== madeIn(rotation).prior) {
        throw new KelError(
          'KEL_CONFLICT',
          `The log has moved on to event ${kel.state.sn} since the rotation was signed`,
          { hint: 'Give the rotation up with --abandon, and run it again' },
        )
      }
      const result = await kel.append(message, 'local')
      if (result.outcome !== 'accepted') throw new KelError('KEL_WITNESS', result.explanation)
      return undefined
    },
  }
}

function activateStep<State extends KeyRotationState>(identity: Identity): KeyStep<State> {
  return {
    name: 'identity-activate',
    title: 'write down which identity keys are in force',
    async run(rotation) {
      const made = madeIn(rotation)
      const future = made.future.map(({ alias, file }) => ({ alias, file }))
      const { alias, until } = stagedIn(rotation)
      const keys = await identity.keys()
      // The alias stays and its key changes: one atomic change of the keystore, in which the retired key goes.
      if (until !== alias && keys.has(until)) await keys.store.rename(until, alias, { overwrite: true })
      const untouched = identity.next.filter(({ file }) => !future.some((key) => key.file === file))
      await identity.rename({ alias, next: [...future, ...untouched] }, new Date(made.atMs).toISOString())
      return undefined
    },
  }
}

/** Old keys go: the revealed ones from the files of the next keys, the retired one from the keystore. */
function retireStep<State extends KeyRotationState>(identity: Identity, plan: KeyRotationPlan<State>): KeyStep<State> {
  return {
    name: 'identity-retire',
    title: 'remove the identity keys that are no longer needed',
    async run(rotation) {
      const { revealed, future, retired } = madeIn(rotation)
      // Until this rotation is published, the log that it is in is on this machine alone.
      await writeLogCopies(identity, [...(plan.nextKeyFiles ?? []), ...future.map(({ file }) => file)])
      for (const place of revealed) {
        // A file that is on its own medium already keeps a copy of the key now in force, beside its successor.
        await (await locateKey(identity, place, plan.nextKeyFiles))?.store.remove(place.alias)
      }
      const keys = await identity.keys()
      const { alias } = stagedIn(rotation)
      if (plan.keepOldKey !== true && retired !== alias && keys.has(retired)) await keys.store.remove(retired)
      await removeCopies(keys, alias, revealed)
      await dropSealed(identity, eventIn(rotation).sn)
      return undefined
    },
  }
}

/** A rotation that was resumed with another alias may have left the new key under the first one too. */
async function removeCopies(keys: Keys, alias: string, revealed: readonly KeyPlace[]): Promise<void> {
  const inForce = new Set(revealed.map(({ publicKey }) => publicKey))
  for (const entry of keys.store.list())
    if (entry.kind === 'identity' && entry.alias !== alias && inForce.has(hexEncode(await keys.publicKey(entry.alias))))
      await keys.store.remove(entry.alias)
}

/** The steps that rotate an identity's key; what they leave is in the state as `made`, `event` and `staged`. */
export function keyRotationSteps<State extends KeyRotationState>(
  identity: Identity,
  plan: KeyRotationPlan<State>,
): readonly KeyStep<State>[] {
  return [
    makeStep(identity, plan),
    signStep(identity, plan),
    witnessStep(identity, plan),
    stageStep(identity, plan),
    appendStep(identity),
    activateStep(identity),
    retireStep(identity, plan),
  ]
}

/**
 * Checks, before a rotation begins or goes on, all that it needs: both keystores open, the files with the next keys
 * hold what the log or the interrupted rotation promises, the alias is free, the event is one that readers accept, its
 * witnesses answer, and the disks have room. Writes nothing.
 *
 * @param pending - The rotation that was interrupted, if one was.
 * @param terms - What a rotation that is not signed yet will say.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`; KeystoreError `KEY_PASSPHRASE`, which names the file, `KEY_ALIAS`,
 * `KEY_ALIAS_EXISTS`; those of the log.
 */
export async function checkKeyRotation(
  identity: Identity,
  choices: LocalChoices,
  pending: RotationRecord<KeyRotationState> | undefined,
  terms: RotationTerms,
): Promise<void> {
  if (choices.nextKeyAlias !== undefined) checkAlias(choices.nextKeyAlias)
  if (pending?.done.includes('identity-sign') === true) return await checkSigned(identity, choices, pending)
  const made = pending?.state.made
  const said = made?.terms ?? terms
  const preview = await previewRotation(identity, said, choices.nextKeyFiles)
  for (const place of [...(made?.revealed ?? []), ...(made?.future ?? [])])
    await requireKey(identity, place, choices.nextKeyFiles)
  await checkChosenAlias(identity, choices, preview.first)
  await requireWitnesses(identity, preview.after, choices.signal)
  const files = choices.nextKeyFiles ?? identity.next.map(({ file }) => file)
  await requireRoom([identity.logPath, ...files])
}

/** After `identity-stage` the next key may be on its own medium already. */
async function checkSigned(
  identity: Identity,
  choices: LocalChoices,
  { done, state }: RotationRecord<KeyRotationState>,
): Promise<void> {
  await identity.keys()
  if (done.includes('identity-stage')) return
  for (const place of [...madeIn(state).revealed, ...madeIn(state).future])
    await requireKey(identity, place, choices.nextKeyFiles)
}

async function checkChosenAlias(identity: Identity, { nextKeyAlias }: LocalChoices, first: KeyPlace): Promise<void> {
  if (nextKeyAlias === undefined || (await isFree(await identity.keys(), identity, nextKeyAlias, first))) return
  throw new KeystoreError('KEY_ALIAS_EXISTS', `"${nextKeyAlias}" names another key of this keystore`, {
    hint: 'Nothing was changed. Choose another name for the key that comes into force, or none',
  })
}

/**
 * Whether a rotation has gone so far that it can only be finished: it is in the log, or witnesses may have signed it.
 */
export async function isKeyRotationBinding(
  identity: Identity,
  { state: { event } }: RotationRecord<KeyRotationState>,
): Promise<boolean> {
  if (event === undefined) return false
  const { events } = await openOwnLog(identity)
  return event.witnesses !== 0 || events.some(({ said }) => said === event.said)
}

/**
 * Gives up a rotation that {@link isKeyRotationBinding} does not hold: the promised key must not stay beside the
 * current one, neither in the keystore nor in the generation before. Keys that were made stay in their files, promised
 * nowhere.
 */
export async function abandonKeyRotation(identity: Identity, record: RotationRecord<KeyRotationState>): Promise<void> {
  const { made, event } = record.state
  if (made !== undefined && event !== undefined) await takeBack(identity, made.revealed)
  await dropRotation(identity.journals, record.rotation)
}

async function takeBack(identity: Identity, revealed: readonly KeyPlace[]): Promise<void> {
  const keys = await identity.keys()
  const promised = new Set(revealed.map(({ publicKey }) => publicKey))
  for (const { alias, kind } of keys.store.list()) {
    if (kind === 'identity' && alias !== identity.alias && promised.has(hexEncode(await keys.publicKey(alias))))
      await keys.store.remove(alias)
  }
  await keys.store.change(() => undefined)
}

/** What a rotation came to. */
export interface RotatedIdentity {
  readonly sn: number
  readonly said: string
  readonly alias: string
  readonly resumed: boolean
}

/**
 * Rotates an identity's key alone, or finishes such a rotation that was interrupted.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when too few next keys are at hand; those of {@link
 *   checkKeyRotation}.
 */
export async function rotateIdentityKey(
  identity: Identity,
  plan: KeyRotationPlan,
  observe: Pick<RunOptions<KeyRotationState>, 'onStep' | 'afterEffect' | 'signal'> = {},
): Promise<RotatedIdentity> {
  const rotation = keyRotation(identity)
  const pending = await readRotation(identity.journals, rotation)
  await checkKeyRotation(identity, plan, pending, plan.terms({}))
  const { state, resumed } = await runRotationSteps(rotation, keyRotationSteps(identity, plan), {
    folder: identity.journals,
    nowMs: plan.nowMs,
    ...observe,
  })
  const { sn, said } = eventIn(state)
  return { sn, said, alias: stagedIn(state).alias, resumed }
}
