import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseStrictJson } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { KelError } from '@keyturn/kel'
import { PublisherError } from './errors.ts'

/** A freeze of this home: it signs nothing until it ends. Local only: others do not see it. */
export interface Freeze {
  readonly frozenAt: string
  readonly frozenUntil: string
  readonly reason: string
}

function freezePath(home: string): string {
  return join(home, 'freeze.json')
}

/** The freeze in force; undefined when there is none or it has ended. */
export async function readFreeze(home: string, clock: Clock): Promise<Freeze | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(freezePath(home))
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
  const value: unknown = parseStrictJson(bytes, { maxBytes: 64 * 1024 })
  const { frozen_at: frozenAt, frozen_until: frozenUntil, reason } = value as Record<string, unknown>
  if (typeof frozenAt !== 'string' || typeof frozenUntil !== 'string' || typeof reason !== 'string') {
    throw new PublisherError('CLI_HOME_FORMAT', `"${freezePath(home)}" is not a freeze`)
  }
  return Date.parse(frozenUntil) > clock() ? { frozenAt, frozenUntil, reason } : undefined
}

/** Writes a freeze, whole or not at all. */
export async function writeFreeze(home: string, { frozenAt, frozenUntil, reason }: Freeze): Promise<void> {
  const text = `${JSON.stringify({ frozen_at: frozenAt, frozen_until: frozenUntil, reason }, null, 2)}\n`
  await writeFileAtomic(freezePath(home), new TextEncoder().encode(text), { mode: 0o600 })
}

/** Ends a freeze. */
export async function removeFreeze(home: string): Promise<void> {
  await rm(freezePath(home), { force: true })
  await syncFolder(home)
}

/**
 * Refuses to go on while the home is frozen: for every command that signs or publishes in the name of an identity. Open
 * stay those that answer the emergency itself (rotations of the identity, revocations of keys) and `--abandon`.
 *
 * @throws {@link KelError} `KEL_FROZEN`.
 */
export async function refuseFrozen(home: string, clock: Clock): Promise<void> {
  const freeze = await readFreeze(home, clock)
  if (freeze !== undefined)
    throw new KelError(
      'KEL_FROZEN',
      `Frozen until ${freeze.frozenUntil}${freeze.reason === '' ? '' : `: ${freeze.reason}`}`,
      { hint: 'Run "keyturn emergency unfreeze" once it is clear what happened' },
    )
}
