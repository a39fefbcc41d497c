import { ed25519Verify } from '@keyturn/primitives'
import type { ReceiptCouple, TransferableReceipt } from './cesr/attachments.ts'
import { parseMatter } from './cesr/matter.ts'
import { KelError } from './errors.ts'
import type { KeyState, Place } from './key-state.ts'
import { parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'
import { verifyIndexed, verifyWitnesses } from './signatures.ts'
import { plainBytes, readFrame } from './stream.ts'
import type { VerifiedLog } from './verified-log.ts'

/** What a verified log must tell so that receipts of its identity can be verified. */
export interface ReceiptLog {
  /** SAID and kind of the accepted event at a place. */
  eventAt(sn: number): { readonly said: string; readonly type: string } | undefined
  /** The state right after it. */
  stateAt(sn: number): KeyState | undefined
}

/** The answer to one signature, or one group of them, in a receipt. */
export interface VerifiedReceipt {
  /** Prefix of the signer. */
  readonly prefix: string
  /**
   * `witness`: named by the event; `watcher`: a key that is its own identity, and named by nobody; `identity`: one with
   * a log.
   */
  readonly by: 'witness' | 'watcher' | 'identity'
  /**
   * `valid`; `partial`: signatures verify, the identity's threshold is not met; `invalid`; `unknown`: the log of the
   * identity is not here, or does not reach that far.
   */
  readonly outcome: 'valid' | 'partial' | 'invalid' | 'unknown'
  /** Where the keys of an identity with a log came into force, as the receipt says. */
  readonly keysFrom?: Place
  /** A sentence for people. */
  readonly explanation: string
}

/**
 * Verifies receipts by identities with logs (`-D`, `-F`) under the keys that were in force at the place each of them
 * names.
 */
export function verifyTransferable(
  raw: Uint8Array,
  receipts: readonly TransferableReceipt[],
  logOf: (prefix: string) => ReceiptLog | undefined,
): VerifiedReceipt[] {
  return receipts.map(({ prefix, sn, said, signatures }) => {
    const answer = (outcome: VerifiedReceipt['outcome'], why: string): VerifiedReceipt => ({
      prefix,
      by: 'identity',
      outcome,
      keysFrom: { sn, said },
      explanation: `${prefix}, keys of event ${sn}: ${why}`,
    })
    const log = logOf(prefix)
    const event = log?.eventAt(sn)
    const state = log?.stateAt(sn)
    if (event === undefined || state === undefined) return answer('unknown', 'that event is not known here')
    if (event.said !== said) return answer('invalid', 'another event has that place')
    if (event.type === 'ixn') return answer('invalid', 'an interaction puts no keys in force')
    try {
      const { places } = verifyIndexed(signatures, state.publicKeys, raw)
      const count = `${places.size} of ${state.publicKeys.length} keys signed`
      return state.threshold.met(places)
        ? answer('valid', count)
        : answer('partial', `${count}, the threshold is not met`)
    } catch (error) {
      if (error instanceof KelError) return answer('invalid', error.message)
      throw error
    }
  })
}

/** Verifies one receipt by a key that is its own identity (`-C`). */
function verifyCouple(
  raw: Uint8Array,
  { prefix, code, signature }: ReceiptCouple,
  witnesses: readonly string[],
): VerifiedReceipt {
  const by = witnesses.includes(prefix) ? 'witness' : 'watcher'
  const answer = (outcome: VerifiedReceipt['outcome'], why: string): VerifiedReceipt => ({
    prefix,
    by,
    outcome,
    explanation: `${prefix}: ${why}`,
  })
  if (!prefix.startsWith('B')) return answer('invalid', 'no Ed25519 key that is its own identity')
  if (code !== '0B') return answer('invalid', 'the signature is of another curve than the key')
  const verifies = ed25519Verify(parseMatter(prefix, 'i').raw, raw, signature)
  return verifies ? answer('valid', 'the signature verifies') : answer('invalid', 'the signature does not verify')
}

/** Options of {@link verifyReceipts}. */
export interface VerifyReceiptsOptions {
  /** Finds the verified log of an identity that gave a receipt. Default: only the log itself is known. */
  readonly logOf?: (prefix: string) => VerifiedLog | undefined
}

/**
 * Verifies everything that a receipt (`rct`), or an event with receipts after it, says about an event of a verified
 * log: signatures of witnesses, of keys that are their own identity, and of identities with logs of their own. Nothing
 * is counted for the log: that is what {@link verifyLog} and {@link Kel.append} do with witnesses.
 *
 * @param message - One message of a CESR stream.
 * @param log - The verified log that the receipt speaks about.
 * @returns One answer for each signature or group, in the order witnesses, couples, identities.
 * @throws {@link KelError} `KEL_MISFIT` when the log has another event at that place or none; what parsing throws.
 * @example `verifyReceipts(receipt, log, { logOf: (prefix) => known.get(prefix) }).filter(({ outcome }) => outcome ===
 *   'valid')`
 */
export function verifyReceipts(
  message: Uint8Array,
  log: VerifiedLog,
  options: VerifyReceiptsOptions = {},
): readonly VerifiedReceipt[] {
  const { event, attachments }: Message = parseMessage(readFrame(plainBytes(message), 0))
  const held = log.events[event.sn]
  const state = log.stateAt(event.sn)
  if (event.prefix !== log.prefix || held?.said !== event.said || state === undefined) {
    throw refusal('KEL_MISFIT', `The receipt is for event ${event.sn} of ${event.prefix}, which the log does not have`)
  }
  const { witnessSignatures, couples, transferable } = attachments
  const indexed = verifyWitnesses(state.witnesses, held.raw, witnessSignatures)
  const byWitnesses = witnessSignatures.map(({ index }): VerifiedReceipt => {
    const prefix = state.witnesses[index] ?? ''
    const outcome = indexed.has(index) ? 'valid' : 'invalid'
    return {
      prefix,
      by: 'witness',
      outcome,
      explanation: `Witness ${index} ${prefix}: the signature ${outcome === 'valid' ? 'verifies' : 'does not verify'}`,
    }
  })
  const known = (prefix: string): ReceiptLog | undefined => {
    const found = prefix === log.prefix ? log : options.logOf?.(prefix)
    return found === undefined ? undefined : { eventAt: (sn) => found.events[sn], stateAt: (sn) => found.stateAt(sn) }
  }
  return [
    ...byWitnesses,
    ...couples.map((couple) => verifyCouple(held.raw, couple, state.witnesses)),
    ...verifyTransferable(held.raw, transferable, known),
  ]
}
