import { checkStream } from '@keyturn/kel'
import { readSignedEvent } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import { openOwnLog, readOwnLog } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'

export interface WitnessOptions {
  readonly alias?: string | undefined
}

/** An identity whose witnesses have not signed its inception yet: there is one event and no log. */
export function newIdentity(stored: Uint8Array): SignedEvent | undefined {
  const {
    messages: [first, ...more],
  } = checkStream(stored)
  return first?.verdict === 'escrow:partial-witness' && more.length === 0
    ? readSignedEvent(stored, undefined)
    : undefined
}

export async function namedWitnesses(identity: Identity): Promise<readonly string[]> {
  const event = newIdentity(await readOwnLog(identity))
  return (event ?? (await openOwnLog(identity))).state.witnesses
}
