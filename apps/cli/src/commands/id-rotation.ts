// The rotation of an identity that cannot strand its owner, in steps that a journal remembers. Used by `keyturn id
// rotate`, `keyturn emergency rotate-now`, `keyturn roles seal` and `keyturn rotate identity`: each puts
// identityTurnSteps() into its own turn, or calls rotateIdentity().
//
// Order: new keys are made, sealed, read back and have signed a test message; the rotation is built, signed by the
// revealed keys and judged by the very rules of a reader; the revealed key is put beside the current one and has signed
// a test message from there; only then is the event appended; then the names change; at last old keys are removed. A
// crash before the append leaves the old identity whole, one after it is completed on the next call.

import { base64Decode, base64Encode, ed25519PublicKey, ed25519Verify, hexDecode, hexEncode, systemRandom, wipe, type JsonObject } from '@keyturn/primitives'
import { KelError, nextDigestOf, readSignedEvent, rotate, type KeyState, type RotationPlan, type Seal, type Signer, type SignedEvent } from '@keyturn/kel'
import { nextAlias } from '@keyturn/keystore'
import { pathExists } from '@keyturn/primitives/node'
import { CliError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { Keys } from '../keys.ts'
import { runTurn, type TurnStep } from '../turn/journal.ts'
import { openOwnLog, type Identity, type NextKeyPlace } from './id-identity.ts'

/** What a rotation is to do beyond turning the key. */
export interface IdentityTurnPlan {
  /** Anchors, in order. On a release identity the first one is the digest seal of the role document. */
  readonly seals: readonly Seal[]
  /** Alias of the key that comes into force; default: the next number on a release identity, else the alias stays. */
  readonly nextKeyAlias?: string | undefined
  /** Files to look for next keys in, instead of those written down. */
  readonly nextKeyFiles?: readonly string[] | undefined
  readonly addWitnesses?: readonly string[] | undefined
  readonly removeWitnesses?: readonly string[] | undefined
  readonly witnessThreshold?: number | undefined
  /** Collects witness signatures for the event before it is appended; returns the message with them. */
  readonly witness?: ((event: SignedEvent) => Promise<Uint8Array>) | undefined
  /** Keep the retired key in the keystore. Default: it is removed. */
  readonly keepOldKey?: boolean | undefined
}

/** A next key that is at hand. */
interface Revealed extends NextKeyPlace { readonly publicKey: Uint8Array; readonly place: number }

/** Finds the promised keys among the files that are there. */
async function findRevealed(identity: Identity, state: KeyState, plan: IdentityTurnPlan): Promise<Revealed[]> {
  const revealed: Revealed[] = []
  const files = plan.nextKeyFiles ?? identity.next.map(({ file }) => file)
  for (const file of files) {
    if (!await pathExists(file)) continue
    const keys = await identity.nextKeys(file)
    for (const { alias } of keys.store.list()) {
      const publicKey = await keys.publicKey(alias)
      const place = state.nextDigests.indexOf(nextDigestOf(publicKey))
      if (place >= 0 && !revealed.some((other) => other.place === place)) revealed.push({ alias, file, publicKey, place })
    }
  }
  if (state.nextThreshold.met(new Set(revealed.map(({ place }) => place)))) return revealed.sort((a, b) => a.place - b.place)
  throw new CliError('CLI_TURN_UNREADY', `${revealed.length} of the ${state.nextDigests.length} promised next keys are at hand, ${state.nextThreshold.fewest} needed`, {
    hint: `Bring the files with the next keys: --next-key-file FILE (looked for in ${files.join(', ')})`,
  })
}

/** Signs a fresh message with a key where it lies now, and verifies: it can be read back and it is the right one. */
async function testSign(keys: Keys, alias: string, publicKey: Uint8Array): Promise<void> {
  const message = systemRandom(32)
  const { sign } = await keys.documentSigner(alias)
  if (!ed25519Verify(publicKey, message, await sign(message))) throw new CliError('CLI_INTERNAL', `Key "${alias}" does not sign as it should`)
}

interface Place extends JsonObject { readonly alias: string; readonly file: string; readonly publicKey: string }

function places(facts: JsonObject, name: string): readonly Place[] {
  const list = facts[name]
  if (!Array.isArray(list)) throw new CliError('CLI_TURN_JOURNAL', `Journal of the rotation lacks "${name}"`)
  return list as unknown as readonly Place[]
}

function fact(facts: JsonObject, name: string): string {
  const value = facts[name]
  if (typeof value !== 'string') throw new CliError('CLI_TURN_JOURNAL', `Journal of the rotation lacks "${name}"`)
  return value
}

/** An alias that follows and is free in a keystore. */
function freshAlias(keys: Keys, alias: string): string {
  const numbered = /\/\d+$/.test(alias) ? alias : `${alias}/1`
  let next = followingAlias(numbered)
  while (keys.has(next)) next = followingAlias(next)
  return next
}

/** What the rotation will say, given the next keys that come after it. */
function rotationPlan(state: KeyState, revealed: readonly { publicKey: Uint8Array; place: number }[], future: readonly Uint8Array[], plan: IdentityTurnPlan): RotationPlan {
  // Promised keys that are not at hand stay promised: nothing of theirs was revealed.
  const kept = state.nextDigests.filter((_, place) => !revealed.some((key) => key.place === place))
  const count = future.length + kept.length
  return {
    keys: revealed.map(({ publicKey }) => publicKey),
    threshold: 1,
    nextKeys: future, nextDigests: kept,
    nextThreshold: Math.min(state.nextThreshold.fewest, count),
    seals: plan.seals,
    ...(plan.addWitnesses === undefined ? {} : { addWitnesses: plan.addWitnesses }),
    ...(plan.removeWitnesses === undefined ? {} : { removeWitnesses: plan.removeWitnesses }),
    ...(plan.witnessThreshold === undefined ? {} : { witnessThreshold: plan.witnessThreshold }),
  }
}

/** Signs with keys that lie in several files. */
async function gatherSigner(identity: Identity, revealed: readonly { alias: string; file: string; publicKey: Uint8Array }[]): Promise<Signer> {
  return {
    publicKeys: revealed.map(({ publicKey }) => publicKey),
    async sign(message, index) {
      const key = revealed[index]
      if (key === undefined) throw new RangeError(`No key ${index}`)
      const { sign } = await (await identity.nextKeys(key.file)).documentSigner(key.alias)
      return await sign(message)
    },
  }
}

/** What a dry run found: everything was done but nothing written. */
export interface RotationPreview {
  readonly before: KeyState
  readonly after: KeyState
  /** The event as it would be, but for the next keys: those are made anew when it is meant. */
  readonly event: SignedEvent
  /** Places of the promised keys that were at hand. */
  readonly revealed: readonly number[]
}

/**
 * Does everything of a rotation but writing: opens the next keys, compares them with the promise, builds, signs and
 * judges the event with next keys that are thrown away.
 */
export async function previewRotation(identity: Identity, plan: IdentityTurnPlan): Promise<RotationPreview> {
  const { state } = await openOwnLog(identity)
  const revealed = await findRevealed(identity, state, plan)
  const seeds = revealed.map(() => systemRandom(32))
  try {
    const future = seeds.map((seed) => ed25519PublicKey(seed))
    const event = await rotate(state, rotationPlan(state, revealed, future, plan), await gatherSigner(identity, revealed))
    return { before: state, after: event.state, event, revealed: revealed.map(({ place }) => place) }
  } finally {
    wipe(...seeds)
  }
}

/** Makes the next keys that the rotation will promise, each in the file of the one it follows. */
function makeStep(identity: Identity, plan: IdentityTurnPlan): TurnStep {
  return {
    name: 'identity-make', title: 'make the next identity keys, read them back and test them',
    async run() {
      const { state } = await openOwnLog(identity)
      const revealed = await findRevealed(identity, state, plan)
      const future: Place[] = []
      for (const { file, alias } of revealed) {
        const keys = await identity.nextKeys(file)
        // A key made by an earlier try was promised nowhere: it is taken up.
        const taken = [...revealed, ...future].filter((key) => key.file === file).map((key) => key.alias)
        const unpromised = keys.store.list().map((entry) => entry.alias).find((name) => !taken.includes(name))
        const fresh = unpromised ?? freshAlias(keys, alias)
        const publicKey = await keys.makeSigning(fresh, 'identity')
        await testSign(keys, fresh, publicKey)
        future.push({ alias: fresh, file, publicKey: hexEncode(publicKey) })
      }
      return {
        identity_prior: state.said,
        identity_retired: identity.alias,
        identity_revealed: revealed.map(({ alias, file, publicKey }) => ({ alias, file, publicKey: hexEncode(publicKey) })),
        identity_future: future,
      }
    },
  }
}

function signStep(identity: Identity, plan: IdentityTurnPlan): TurnStep {
  return {
    name: 'identity-sign', title: 'build and sign the rotation',
    async run(facts) {
      const { state } = await openOwnLog(identity)
      const revealed = places(facts, 'identity_revealed').map(({ alias, file, publicKey }) => {
        const raw = hexDecode(publicKey)
        return { alias, file, publicKey: raw, place: state.nextDigests.indexOf(nextDigestOf(raw)) }
      })
      const future = places(facts, 'identity_future').map(({ publicKey }) => hexDecode(publicKey))
      const event = await rotate(state, rotationPlan(state, revealed, future, plan), await gatherSigner(identity, revealed))
      return { identity_sn: event.sn, identity_said: event.said, identity_message: base64Encode(event.message) }
    },
  }
}

/** Witnesses sign one event for a place and never another: the one they are shown is in the journal already. */
function witnessStep(identity: Identity, witness: (event: SignedEvent) => Promise<Uint8Array>): TurnStep {
  return {
    name: 'identity-witness', title: 'collect the receipts of the witnesses',
    async run(facts) {
      const kel = await openOwnLog(identity)
      if (kel.events.some((event) => event.said === fact(facts, 'identity_said'))) return undefined
      const message = await witness(readSignedEvent(base64Decode(fact(facts, 'identity_message')), kel.state))
      return { identity_message: base64Encode(message) }
    },
  }
}

/** The key that comes into force, in the keystore of the identity before the log says so. */
function stageStep(identity: Identity, plan: IdentityTurnPlan): TurnStep {
  return {
    name: 'identity-stage', title: 'put the new current key into the keystore and test it',
    async run(facts) {
      const [first] = places(facts, 'identity_revealed')
      if (first === undefined) throw new CliError('CLI_TURN_JOURNAL', 'Journal of the rotation reveals no key')
      const keys = await identity.keys()
      const alias = plan.nextKeyAlias ?? (identity.kind === 'release' ? first.alias : identity.alias)
      const staged = alias === identity.alias ? nextAlias(alias, Number(facts['identity_sn'])) : alias
      if (!keys.has(staged)) await (await identity.nextKeys(first.file)).lend(first.alias, (seed) => keys.add(staged, 'identity', seed))
      await testSign(keys, staged, hexDecode(first.publicKey))
      return { identity_alias: alias, identity_staged: staged }
    },
  }
}

function appendStep(identity: Identity): TurnStep {
  return {
    name: 'identity-append', title: 'append the rotation to the log',
    async run(facts) {
      const kel = await openOwnLog(identity)
      const said = fact(facts, 'identity_said')
      if (kel.events.some((event) => event.said === said)) return undefined
      if (kel.state.said !== fact(facts, 'identity_prior')) {
        throw new KelError('KEL_CONFLICT', `The log has moved on to event ${kel.state.sn} since the rotation was signed`, {
          hint: 'Give the rotation up with --abort and begin anew',
        })
      }
      const result = await kel.append(base64Decode(fact(facts, 'identity_message')))
      if (result.outcome !== 'accepted') throw new KelError('KEL_WITNESS', result.explanation)
      return undefined
    },
  }
}

function activateStep(identity: Identity): TurnStep {
  return {
    name: 'identity-activate', title: 'write down which keys are in force',
    async run(facts) {
      const future = places(facts, 'identity_future').map(({ alias, file }) => ({ alias, file }))
      const [alias, staged] = [fact(facts, 'identity_alias'), fact(facts, 'identity_staged')]
      const keys = await identity.keys()
      // The alias stays and its key changes: one atomic change of the keystore, in which the retired key goes.
      if (staged !== alias && keys.has(staged)) await keys.store.rename(staged, alias, { replace: true })
      const untouched = identity.next.filter(({ file }) => !future.some((key) => key.file === file))
      await identity.rename({ alias, next: [...future, ...untouched] })
      return undefined
    },
  }
}

/** Old keys go: the revealed ones from the files of the next keys, the retired one from the keystore. */
function retireStep(identity: Identity, plan: IdentityTurnPlan): TurnStep {
  return {
    name: 'identity-retire', title: 'remove the keys that are no longer needed',
    async run(facts) {
      for (const { alias, file } of places(facts, 'identity_revealed')) {
        if (!await pathExists(file)) continue
        const keys = await identity.nextKeys(file)
        if (keys.has(alias)) await keys.store.remove(alias)
      }
      const retired = fact(facts, 'identity_retired')
      const keys = await identity.keys()
      if (plan.keepOldKey !== true && retired !== fact(facts, 'identity_alias') && keys.has(retired)) await keys.store.remove(retired)
      return undefined
    },
  }
}

/**
 * The steps that turn an identity, for {@link runTurn}. Facts that later steps may use: `identity_sn`, `identity_said`,
 * `identity_alias`.
 */
export function identityTurnSteps(identity: Identity, plan: IdentityTurnPlan): readonly TurnStep[] {
  return [
    makeStep(identity, plan), signStep(identity, plan),
    ...(plan.witness === undefined ? [] : [witnessStep(identity, plan.witness)]),
    stageStep(identity, plan),
    appendStep(identity), activateStep(identity), retireStep(identity, plan),
  ]
}

/** What a rotation came to. */
export interface RotatedIdentity { readonly sn: number; readonly said: string; readonly alias: string; readonly resumed: boolean }

/**
 * Turns an identity, or finishes a turn that was interrupted.
 *
 * @param now - Start time, ISO 8601.
 * @throws {@link CliError} `CLI_TURN_UNREADY` when too few next keys are at hand.
 */
export async function rotateIdentity(
  identity: Identity, plan: IdentityTurnPlan, now: string, observe: { onStep?: (step: TurnStep) => void; afterEffect?: (step: TurnStep) => void } = {},
): Promise<RotatedIdentity> {
  const { facts, resumed } = await runTurn(identity.turn, identityTurnSteps(identity, plan), { folder: identity.journals, now, ...observe })
  const sn = facts['identity_sn']
  return { sn: typeof sn === 'number' ? sn : Number.NaN, said: fact(facts, 'identity_said'), alias: fact(facts, 'identity_alias'), resumed }
}
