import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hexEncode, systemRandom, type Clock } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { sha256DigestSeal, type DigestSeal } from '@keyturn/kel'
import type { Identity } from './id-identity.ts'

/** Folder of the kept reasons, beside the log. */
export function reasonsFolder(identity: Pick<Identity, 'logPath'>): string {
  return join(dirname(identity.logPath), 'reasons')
}

/**
 * Keeps the reason of a rotation: its text in a file beside the log, its digest for the log. The random salt keeps a
 * short reason from being guessed from the digest.
 *
 * @returns The seal that the rotation carries.
 */
export async function keepReason(identity: Identity, reason: string, clock: Clock): Promise<DigestSeal> {
  const record = { type: 'keyturn.reason', schema: 1, identity: identity.prefix, reason, at: new Date(clock()).toISOString(), salt: hexEncode(systemRandom(16)) }
  const bytes = new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`)
  const seal = sha256DigestSeal(bytes)
  await mkdir(reasonsFolder(identity), { recursive: true, mode: 0o700 })
  await writeFileAtomic(join(reasonsFolder(identity), `${seal.d}.json`), bytes, { mode: 0o600 })
  return seal
}
