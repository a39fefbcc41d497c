import { concatBytes, ed25519Verify, equalBytes, requireList, requireMembers, utf8Encode } from '@keyturn/primitives'
import { buildAbandonment, buildInception, buildInteraction, buildRotation } from './build.ts'
import type { InceptionPlan, RotationPlan, UnsignedEvent } from './build.ts'
import { sealSourceGroup, signatureGroup, witnessGroup } from '../cesr/attachments.ts'
import { encodeCurrentOnlySignature, encodeIndexedSignature } from '../cesr/indexed-signature.ts'
import { matchesDigest } from '../digest.ts'
import { isInception, isRotation } from '../event.ts'
import type { KeyEvent } from '../event.ts'
import { inceptionState, nextState } from '../key-state.ts'
import type { KeyState, Place } from '../key-state.ts'
import { isKeyEvent, parseMessage } from '../message.ts'
import { refusal } from '../rule.ts'
import type { Seal } from '../seal.ts'
import type { Signer } from '../signer.ts'
import { plainBytes, readFrame } from '../stream.ts'
import { verifyEvent } from '../verify-event.ts'
import type { VerifyContext } from '../verify-event.ts'

/** A new event with its signatures, checked by the same rules that a reader applies. */
export interface SignedEvent {
  readonly prefix: string
  readonly sn: number
  readonly said: string
  /** The exact body. */
  readonly event: Uint8Array
  /** Body and attachments: what is appended to a log or sent. */
  readonly message: Uint8Array
  /** The state that the event leads to once it is accepted. */
  readonly state: KeyState
}

/** Extra attachments of a new event. */
export interface AttachOptions {
  /** Witness signatures over the body, by place in the witness list that holds after the event. */
  readonly witnessSignatures?: readonly { readonly index: number; readonly signature: Uint8Array }[] | undefined
  /** For a delegated event: the place in the delegator's log that seals it. */
  readonly sealSource?: Place | undefined
  /** Called with more than the event when it is delegated. Default: no delegator is known. */
  readonly context?: VerifyContext | undefined
}

const noDelegator: VerifyContext = { delegator: () => undefined }

/** Signature of one key over a body; `index` is the key's place in the event's key list. */
export interface KeySignature {
  readonly index: number
  readonly signature: Uint8Array
}

/**
 * Asks a signer for a signature by each key of the event that it holds, and checks what comes back.
 *
 * @param publicKeys - The keys in force for the event.
 * @throws {@link KelError} `KEL_SIGNATURE` when a signer returns something that does not verify.
 */
export async function collectSignatures(
  body: Uint8Array,
  publicKeys: readonly Uint8Array[],
  signer: Signer,
): Promise<KeySignature[]> {
  const collected: KeySignature[] = []
  for (const [index, publicKey] of publicKeys.entries()) {
    const keyIndex = signer.publicKeys.findIndex((own) => equalBytes(own, publicKey))
    if (keyIndex < 0) continue
    const signature = new Uint8Array(await signer.sign(body, keyIndex))
    if (!ed25519Verify(publicKey, body, signature))
      throw refusal('KEL_SIGNATURE', `Signer returned a wrong signature for key ${index}`)
    collected.push({ index, signature })
  }
  return collected
}

/** Place of a key's digest in the promise of the state, its own place first; -1 when it was not promised. */
function promisedPlace(state: KeyState, index: number, key: string): number {
  const own = state.nextDigests[index]
  if (own !== undefined && matchesDigest(own, key)) return index
  return state.nextDigests.findIndex((digest) => matchesDigest(digest, key))
}

/** Writes signatures as a `-A` group; in a rotation each one says which promised key it reveals, if any. */
function controllerGroup(state: KeyState | undefined, event: KeyEvent, signatures: readonly KeySignature[]): string {
  const rotation = isRotation(event) ? event : undefined
  return signatureGroup(
    signatures.map(({ index, signature }) => {
      const key = rotation?.keys[index]
      if (state === undefined || key === undefined) return encodeIndexedSignature(signature, index)
      const ondex = promisedPlace(state, index, key)
      return ondex < 0 ? encodeCurrentOnlySignature(signature, index) : encodeIndexedSignature(signature, index, ondex)
    }),
  )
}

/**
 * Puts signatures behind an event. For signing rounds where the keys are in several places: build the event once, let
 * each holder sign its body, attach what came back.
 *
 * @param state - The state that the event follows; undefined for an inception.
 * @throws {@link KelError} when the event would not be accepted, except for witness signatures that may still come.
 */
export function attachSignatures(
  state: KeyState | undefined,
  unsigned: UnsignedEvent<KeyEvent>,
  signatures: readonly KeySignature[],
  options: AttachOptions = {},
): SignedEvent {
  const { event, body } = unsigned
  const witnesses = (options.witnessSignatures ?? []).map(({ index, signature }) =>
    encodeIndexedSignature(signature, index),
  )
  const text =
    controllerGroup(state, event, signatures) +
    witnessGroup(witnesses) +
    (options.sealSource === undefined ? '' : sealSourceGroup(options.sealSource))
  return readSignedEvent(concatBytes(body, utf8Encode(text)), state, options.context)
}

/**
 * Reads a signed event back, for instance one that was kept while witnesses were still missing, and verifies it.
 *
 * @param message - Body and attachments.
 * @param state - The state that the event follows; undefined for an inception.
 * @throws {@link KelError} as {@link attachSignatures}.
 */
export function readSignedEvent(
  message: Uint8Array,
  state: KeyState | undefined,
  context: VerifyContext = noDelegator,
): SignedEvent {
  const frame = readFrame(plainBytes(message), 0)
  const parsed = parseMessage(frame)
  if (!isKeyEvent(parsed) || frame.bytes.length !== message.length)
    throw refusal('KEL_PARSE', 'Not the message of one event')
  const { event } = parsed
  const verdict = verifyEvent(state, parsed, context)
  if (verdict.verdict === 'escrow' && verdict.kind !== 'partial-witness' && verdict.kind !== 'partial-delegation') {
    throw refusal('KEL_SIGNATURE', verdict.explanation)
  }
  const after = verdict.verdict === 'accept' ? verdict.state : stateAfter(state, event)
  return { prefix: event.prefix, sn: event.sn, said: event.said, event: event.raw, message, state: after }
}

function stateAfter(state: KeyState | undefined, event: KeyEvent): KeyState {
  if (isInception(event)) return inceptionState(event)
  return nextState(state as KeyState, event)
}

/**
 * Creates an identity: makes the inception and signs it with each of its keys that the signer holds.
 *
 * @throws {@link KelError} `KEL_SIGNATURE` when the signer's keys do not reach the threshold, and those of {@link
 *   buildInception}.
 */
export async function incept(plan: InceptionPlan, signer: Signer, options?: AttachOptions): Promise<SignedEvent> {
  requireMembers(plan, 'plan', ['keys'])
  requireMembers(signer, 'signer', ['publicKeys', 'sign'])
  const unsigned = buildInception(plan)
  return await signWith(undefined, { unsigned, keys: unsigned.event.publicKeys, signer }, options)
}

/**
 * Rotates: the new keys sign, those that the state promised. Checks thresholds and promise before anything leaves.
 *
 * @throws {@link KelError} `KEL_NEXT_COMMITMENT`, `KEL_SIGNATURE`, and those of {@link buildRotation}.
 */
export async function rotate(
  state: KeyState,
  plan: RotationPlan,
  signer: Signer,
  options?: AttachOptions,
): Promise<SignedEvent> {
  requireMembers(state, 'state', ['prefix', 'nextDigests'])
  requireMembers(plan, 'plan', ['keys'])
  requireMembers(signer, 'signer', ['publicKeys', 'sign'])
  const unsigned = buildRotation(state, plan)
  return await signWith(state, { unsigned, keys: unsigned.event.publicKeys, signer }, options)
}

/** Seals anchors in an interaction, signed by the keys in force. */
export async function interact(
  state: KeyState,
  seals: readonly Seal[],
  signer: Signer,
  options?: AttachOptions,
): Promise<SignedEvent> {
  requireMembers(state, 'state', ['prefix', 'nextDigests'])
  requireList(seals, 'seals')
  requireMembers(signer, 'signer', ['publicKeys', 'sign'])
  const unsigned = buildInteraction(state, seals)
  return await signWith(state, { unsigned, keys: state.publicKeys, signer }, options)
}

/** Ends an identity: a rotation that promises no next key. Nothing can ever follow it. */
export async function abandon(
  state: KeyState,
  plan: Omit<RotationPlan, 'nextKeys' | 'nextDigests' | 'nextThreshold'>,
  signer: Signer,
  options?: AttachOptions,
): Promise<SignedEvent> {
  const unsigned = buildAbandonment(state, plan)
  return await signWith(state, { unsigned, keys: unsigned.event.publicKeys, signer }, options)
}

interface ToSign {
  readonly unsigned: UnsignedEvent<KeyEvent>
  /** The keys that may sign it, in their order. */
  readonly keys: readonly Uint8Array[]
  readonly signer: Signer
}

async function signWith(
  state: KeyState | undefined,
  { unsigned, keys, signer }: ToSign,
  options?: AttachOptions,
): Promise<SignedEvent> {
  return attachSignatures(state, unsigned, await collectSignatures(unsigned.body, keys, signer), options)
}
