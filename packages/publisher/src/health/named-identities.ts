import { KelError } from '@keyturn/kel'
import { hexEncode } from '@keyturn/primitives'
import { join } from 'node:path'
import { listNamedIdentities, namedIdentityFolder, namedIdentityLog, openOwnLog } from '../identity/identity.ts'
import { countUnsealed } from '../identity/signed-list.ts'
import { pendingRotations } from '../rotation/journal.ts'
import { keyDue } from './due.ts'
import { statusItem } from './status-item.ts'
import type { StatusItem } from './status-item.ts'
import type { HomeDescription } from '../home.ts'

/** An identity of `keyturn id init`, as its public files say. */
export interface NamedStatus {
  readonly prefix: string
  readonly alias: string
  /** Of its last event; undefined when the log cannot be read, or waits for its witnesses. */
  readonly sn: number | undefined
  /** Code of what is wrong with the log. */
  readonly problem: string | undefined
  /** Whether a rotation was interrupted. */
  readonly rotation_pending: boolean
  /** Signatures that the next rotation seals. */
  readonly unsealed: number
}

/** The key of an identity, and the command that rotates it. */
interface IdentityKey {
  readonly alias: string
  readonly publicKey: Uint8Array | undefined
  readonly sinceMs: number | undefined
  readonly rotation: string
}

/** How long the key of an identity has been in force, and when it is due. */
export function identityItem(
  { alias, publicKey, sinceMs, rotation }: IdentityKey,
  description: Pick<HomeDescription, 'policy'>,
  nowMs: number,
): StatusItem {
  const name = publicKey === undefined ? '' : hexEncode(publicKey).slice(0, 16)
  const due = sinceMs === undefined ? undefined : keyDue('identity', sinceMs, description, nowMs)
  return statusItem({ kind: 'identity', id: alias, name, sinceMs, due, mend: rotation }, nowMs)
}

/**
 * The identities of `keyturn id init` in a home, and when their keys are due; needs no passphrase.
 *
 * @param folder - Of the home; it may hold nothing else.
 * @param description - Of the home, for its policy.
 */
export async function namedStatus(
  folder: string,
  description: Pick<HomeDescription, 'policy'>,
  nowMs: number,
): Promise<{ readonly identities: readonly NamedStatus[]; readonly items: readonly StatusItem[] }> {
  const identities: NamedStatus[] = []
  const items: StatusItem[] = []
  for (const { alias, prefix, since } of await listNamedIdentities(folder)) {
    const pending = await pendingRotations(join(namedIdentityFolder(folder, prefix), 'journals'))
    const { kel, problem, unsealed } = await readLog(folder, prefix)
    const publicKey = kel?.publicKeys[0]
    identities.push({ prefix, alias, sn: kel?.sn, problem, rotation_pending: pending.length > 0, unsealed })
    const sinceMs = since === undefined ? undefined : Date.parse(since)
    items.push(
      identityItem({ alias, publicKey, sinceMs, rotation: `keyturn id rotate --alias ${alias}` }, description, nowMs),
    )
  }
  return { identities, items }
}

async function readLog(
  folder: string,
  prefix: string,
): Promise<{
  readonly kel: { readonly sn: number; readonly publicKeys: readonly Uint8Array[] } | undefined
  readonly problem: string | undefined
  readonly unsealed: number
}> {
  try {
    const log = await namedIdentityLog(folder, prefix)
    const kel = await openOwnLog(log)
    return { kel: kel.state, problem: undefined, unsealed: await countUnsealed(log, kel) }
  } catch (error) {
    // What is wrong is the doctor's to tell; the others are still listed.
    if (!(error instanceof KelError)) throw error
    return { kel: undefined, problem: error.code, unsealed: 0 }
  }
}
