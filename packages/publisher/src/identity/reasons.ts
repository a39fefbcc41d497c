import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hexEncode, parseStrictJson, systemRandom } from '@keyturn/primitives'
import type { Clock, JsonObject } from '@keyturn/primitives'
import { isMissing, writeFileAtomic } from '@keyturn/primitives/node'
import { sha256DigestSeal } from '@keyturn/kel'
import type { DigestSeal } from '@keyturn/kel'
import type { Identity } from './identity.ts'

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
  const record = {
    type: 'keyturn.reason',
    schema: 1,
    identity: identity.prefix,
    reason,
    at: new Date(clock()).toISOString(),
    salt: hexEncode(systemRandom(16)),
  }
  const bytes = new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`)
  const seal = sha256DigestSeal(bytes)
  await mkdir(reasonsFolder(identity), { recursive: true, mode: 0o700 })
  await writeFileAtomic(join(reasonsFolder(identity), `${seal.d}.json`), bytes, { mode: 0o600 })
  return seal
}

/** A kept reason, as its file has it. */
export interface KeptReason {
  readonly reason: string
  /** ISO 8601. */
  readonly at: string
}

/**
 * The reasons that are kept here, by the digest that a rotation seals. A file that is not the one it is named for is
 * left out: it proves nothing.
 */
export async function readReasons(identity: Pick<Identity, 'logPath'>): Promise<ReadonlyMap<string, KeptReason>> {
  const folder = reasonsFolder(identity)
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  const found = new Map<string, KeptReason>()
  for (const name of names.filter((file) => file.endsWith('.json'))) {
    const bytes = await readFile(join(folder, name))
    const seal = sha256DigestSeal(bytes).d
    if (name !== `${seal}.json`) continue
    const { reason, at } = parseStrictJson(bytes, { maxBytes: 1024 * 1024 }) as JsonObject
    if (typeof reason === 'string' && typeof at === 'string') found.set(seal, { reason, at })
  }
  return found
}
