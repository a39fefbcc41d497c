// The one way an identity turns to its promised key, in steps that a journal remembers. `keyturn id rotate` and
// `emergency rotate-now` run them alone; `keyturn rotate identity|release|head` and `roles seal` put them between their own.
//
// Order: new keys are made, sealed, read back and have signed a test message; the rotation is built, signed by the
// revealed keys and judged by the very rules of a reader; the revealed key is put beside the current one and has signed
// a test message from there; only then is the event appended; then the names change; at last old keys are removed. A
// crash before the append leaves the old identity whole, one after it is completed on the next call.

import { base64Decode, base64Encode, hexDecode, hexEncode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { KelError, readSignedEvent, rotate } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel'
import { nextAlias } from '@keyturn/keystore'
import { openOwnLog } from '../identity/identity.ts'
import type { Identity } from '../identity/identity.ts'
import { PublisherError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { Keys } from '../keys.ts'
import { dropTurn, runTurn } from './journal.ts'
import type { TurnOptions, TurnRecord, TurnStep } from './journal.ts'
import {
  findRevealed,
  gatherSigner,
  locateKey,
  placeOf,
  requireKey,
  revealedOf,
  rotationPlan,
  termsFact,
  termsOf,
  testSign,
} from './promised-keys.ts'
import type { KeyPlace, RotationTerms } from './promised-keys.ts'

/** What a turn of an identity's key is to do beyond turning it. */
export interface KeyTurnPlan {
  /** What the rotation says, given the facts of the steps before; asked once, then in the journal. */
  readonly terms: (facts: JsonObject) => RotationTerms
  /** Collects witness signatures before the event is appended; returns the message with them. */
  readonly collect: (event: SignedEvent) => Promise<Uint8Array>
  readonly nowMs: number
  /** Alias of the key that comes into force; default: the next number on a release identity, else the alias stays. */
  readonly nextKeyAlias?: string | undefined
  /** Files to look for next keys in, instead of those written down. */
  readonly nextKeyFiles?: readonly string[] | undefined
  /** Keep the retired key in the keystore. Default: it is removed. */
  readonly keepOldKey?: boolean | undefined
}

function places(facts: JsonObject, name: string): readonly KeyPlace[] {
  const list = facts[name]
  if (!Array.isArray(list)) throw new PublisherError('CLI_TURN_JOURNAL', `Journal of the rotation lacks "${name}"`)
  return list as unknown as readonly KeyPlace[]
}

function fact(facts: JsonObject, name: string): string {
  const value = facts[name]
  if (typeof value !== 'string') throw new PublisherError('CLI_TURN_JOURNAL', `Journal of the rotation lacks "${name}"`)
  return value
}

/** An alias that follows and is free in a keystore. */
function freshAlias(keys: Keys, alias: string): string {
  const numbered = /\/\d+$/.test(alias) ? alias : `${alias}/1`
  let next = followingAlias(numbered)
  while (keys.has(next)) next = followingAlias(next)
  return next
}

function makeStep(identity: Identity, plan: KeyTurnPlan): TurnStep {
  return {
    name: 'identity-make',
    title: 'make the next identity keys, read them back and test them',
    async run(facts) {
      const { state } = await openOwnLog(identity)
      // A keystore that does not open is found before anything is made.
      await identity.keys()
      const revealed = await findRevealed(identity, state, plan.nextKeyFiles)
      const future: KeyPlace[] = []
      for (const { file, alias } of revealed) {
        const keys = await identity.nextKeys(file)
        // A key made by an earlier try was promised nowhere: it is taken up.
        const taken = [...revealed, ...future].filter((key) => key.file === file).map((key) => key.alias)
        const unpromised = keys.store
          .list()
          .map((entry) => entry.alias)
          .find((name) => !taken.includes(name))
        const fresh = unpromised ?? freshAlias(keys, alias)
        const publicKey = await keys.makeSigning(fresh, 'identity')
        await testSign(keys, fresh, publicKey)
        future.push({ alias: fresh, file, publicKey: hexEncode(publicKey) })
      }
      return {
        identity_prior: state.said,
        identity_retired: identity.alias,
        identity_at: new Date(plan.nowMs).toISOString(),
        identity_revealed: revealed.map(placeOf),
        identity_future: future,
        identity_terms: termsFact(plan.terms(facts)),
        ...(plan.nextKeyAlias === undefined ? {} : { identity_next_alias: plan.nextKeyAlias }),
      }
    },
  }
}

function signStep(identity: Identity, plan: KeyTurnPlan): TurnStep {
  return {
    name: 'identity-sign',
    title: 'rotate: build the event and sign it with the promised key',
    async run(facts) {
      const { state, events } = await openOwnLog(identity)
      const revealed = revealedOf(state, places(facts, 'identity_revealed'))
      const future = places(facts, 'identity_future').map(({ publicKey }) => hexDecode(publicKey))
      const rotation = {
        ...rotationPlan(state, revealed, future, termsOf(facts['identity_terms'])),
        history: events,
      }
      const event = await rotate(state, rotation, gatherSigner(identity, revealed, plan.nextKeyFiles))
      return {
        identity_sn: event.sn,
        identity_said: event.said,
        identity_message: base64Encode(event.message),
        identity_witnesses: event.state.witnesses.length,
      }
    },
  }
}

/** Witnesses sign one event for a place and never another: the one they are shown is in the journal already. */
function witnessStep(identity: Identity, plan: KeyTurnPlan): TurnStep {
  return {
    name: 'identity-witness',
    title: 'collect the receipts of the witnesses, if there are any',
    async run(facts) {
      if (facts['identity_witnesses'] === 0) return undefined
      const kel = await openOwnLog(identity)
      if (kel.events.some((event) => event.said === fact(facts, 'identity_said'))) return undefined
      const message = await plan.collect(readSignedEvent(base64Decode(fact(facts, 'identity_message')), kel.state))
      return { identity_message: base64Encode(message) }
    },
  }
}

/** The key that comes into force, in the keystore of the identity before the log says so. */
function stageStep(identity: Identity, plan: KeyTurnPlan): TurnStep {
  return {
    name: 'identity-stage',
    title: 'put the new current key into the keystore and test it',
    async run(facts) {
      const [first] = places(facts, 'identity_revealed')
      if (first === undefined) throw new PublisherError('CLI_TURN_JOURNAL', 'Journal of the rotation reveals no key')
      const keys = await identity.keys()
      const chosen = facts['identity_next_alias']
      const alias = typeof chosen === 'string' ? chosen : identity.kind === 'release' ? first.alias : identity.alias
      const staged = alias === identity.alias ? nextAlias(alias, Number(facts['identity_sn'])) : alias
      if (!keys.has(staged))
        await (
          await requireKey(identity, first, plan.nextKeyFiles)
        ).lend(first.alias, (seed) => keys.add(staged, 'identity', seed))
      await testSign(keys, staged, hexDecode(first.publicKey))
      return { identity_alias: alias, identity_staged: staged }
    },
  }
}

function appendStep(identity: Identity): TurnStep {
  return {
    name: 'identity-append',
    title: 'append the rotation to the log',
    async run(facts) {
      const kel = await openOwnLog(identity)
      const said = fact(facts, 'identity_said')
      if (kel.events.some((event) => event.said === said)) return undefined
      if (kel.state.said !== fact(facts, 'identity_prior')) {
        throw new KelError(
          'KEL_CONFLICT',
          `The log has moved on to event ${kel.state.sn} since the rotation was signed`,
          {
            hint: 'Give the rotation up with --abandon and begin anew',
          },
        )
      }
      const result = await kel.append(base64Decode(fact(facts, 'identity_message')), 'local')
      if (result.outcome !== 'accepted') throw new KelError('KEL_WITNESS', result.explanation)
      return undefined
    },
  }
}

function activateStep(identity: Identity): TurnStep {
  return {
    name: 'identity-activate',
    title: 'write down which identity keys are in force',
    async run(facts) {
      const future = places(facts, 'identity_future').map(({ alias, file }) => ({ alias, file }))
      const [alias, staged] = [fact(facts, 'identity_alias'), fact(facts, 'identity_staged')]
      const keys = await identity.keys()
      // The alias stays and its key changes: one atomic change of the keystore, in which the retired key goes.
      if (staged !== alias && keys.has(staged)) await keys.store.rename(staged, alias, { replace: true })
      const untouched = identity.next.filter(({ file }) => !future.some((key) => key.file === file))
      await identity.rename({ alias, next: [...future, ...untouched] }, fact(facts, 'identity_at'))
      return undefined
    },
  }
}

/** Old keys go: the revealed ones from the files of the next keys, the retired one from the keystore. */
function retireStep(identity: Identity, plan: KeyTurnPlan): TurnStep {
  return {
    name: 'identity-retire',
    title: 'remove the identity keys that are no longer needed',
    async run(facts) {
      for (const place of places(facts, 'identity_revealed')) {
        // A file that is on its own medium already keeps a copy of the key now in force, beside the one that follows it.
        await (await locateKey(identity, place, plan.nextKeyFiles))?.store.remove(place.alias)
      }
      const retired = fact(facts, 'identity_retired')
      const keys = await identity.keys()
      if (plan.keepOldKey !== true && retired !== fact(facts, 'identity_alias') && keys.has(retired))
        await keys.store.remove(retired)
      return undefined
    },
  }
}

/**
 * The steps that turn an identity's key, for {@link runTurn}. Facts that later steps may use: `identity_sn`,
 * `identity_said`, `identity_alias`.
 */
export function keyTurnSteps(identity: Identity, plan: KeyTurnPlan): readonly TurnStep[] {
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
 * Checks before a turn begins or goes on that both keystores open and that the files with the next keys hold what the
 * log, or the turn that was interrupted, promises. Writes nothing.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`; KeystoreError `KEY_PASSPHRASE`, which names the file.
 */
export async function checkKeyTurn(
  identity: Identity,
  plan: Pick<KeyTurnPlan, 'nextKeyFiles'>,
  pending: TurnRecord | undefined,
): Promise<void> {
  const { state } = await openOwnLog(identity)
  await identity.keys()
  if (pending?.done.includes('identity-make') !== true)
    return void (await findRevealed(identity, state, plan.nextKeyFiles))
  // Behind this step the next key may be on its own medium already.
  if (pending.done.includes('identity-stage')) return
  for (const place of [...places(pending.facts, 'identity_revealed'), ...places(pending.facts, 'identity_future')])
    await requireKey(identity, place, plan.nextKeyFiles)
}

/** Whether a turn has gone so far that it can only be finished: it is in the log, or witnesses may have signed it. */
export async function isKeyTurnBinding(identity: Identity, { done, facts }: TurnRecord): Promise<boolean> {
  if (!done.includes('identity-sign')) return false
  const { events } = await openOwnLog(identity)
  return facts['identity_witnesses'] !== 0 || events.some((event) => event.said === fact(facts, 'identity_said'))
}

/**
 * Gives up a turn that {@link isKeyTurnBinding} does not hold: the promised key must not stay beside the current one,
 * neither in the keystore nor in the generation before. Keys that were made stay in their files, promised nowhere.
 */
export async function abandonKeyTurn(identity: Identity, record: TurnRecord): Promise<void> {
  if (record.done.includes('identity-make')) await takeBack(identity, places(record.facts, 'identity_revealed'))
  await dropTurn(identity.journals, record.turn)
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
 * Turns an identity's key alone, or finishes such a turn that was interrupted.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when too few next keys are at hand.
 */
export async function rotateIdentity(
  identity: Identity,
  plan: KeyTurnPlan,
  observe: Pick<TurnOptions, 'onStep' | 'afterEffect' | 'signal'> = {},
): Promise<RotatedIdentity> {
  const now = new Date(plan.nowMs).toISOString()
  const { facts, resumed } = await runTurn(identity.turn, keyTurnSteps(identity, plan), {
    folder: identity.journals,
    now,
    ...observe,
  })
  return {
    sn: Number(facts['identity_sn']),
    said: fact(facts, 'identity_said'),
    alias: fact(facts, 'identity_alias'),
    resumed,
  }
}
