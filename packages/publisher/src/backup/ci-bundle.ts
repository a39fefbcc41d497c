import { copyFile, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import { activeContentKey, homePaths, keyAlias, writeHome } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import type { KeyKind, Keys } from '../keys.ts'

/** Roles that a build machine may hold. */
export type BundleRole = 'release' | 'head'

/** What a home for CI is made from. */
export interface BundlePlan {
  /** New folder. */
  readonly folder: string
  /** Opens its keystore; the caller wipes it. */
  readonly passphrase: Uint8Array
  /** Roles whose keys it gets, at least one. */
  readonly roles: readonly BundleRole[]
  readonly clock: Clock
  /** Cost of the passphrase; default 17. Lower only in tests. */
  readonly scryptLogN?: number | undefined
}

/** What was put in. */
export interface MadeBundle {
  /** Names of its secrets. */
  readonly secrets: readonly string[]
}

/**
 * Makes a home that can make releases and nothing else: the keys of day-to-day roles, the content key in force, the
 * slots
 * and the archive signing key. No identity key, no transport identity, no older content key, no vault. Whatever else a
 * release needs comes from the server, verified.
 *
 * @param home - The full home; asks for its passphrase.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when the home lacks one of the keys.
 */
export async function makeBundle(home: HomeSession, plan: BundlePlan): Promise<MadeBundle> {
  const { description, paths } = home
  const secrets = secretsOf(home, plan.roles)
  const keys = await home.keys()
  const missing = secrets.find(([alias]) => !keys.has(alias))
  if (missing !== undefined)
    throw new PublisherError('CLI_TURN_UNREADY', `This home has no key "${missing[0]}"`, {
      hint: 'Make the bundle in the home that "keyturn init" made',
    })
  const target = homePaths(plan.folder)
  await mkdir(plan.folder, { mode: 0o700 })
  await copySecrets(keys, target.keystore, secrets, plan)
  await copyFile(paths.identityLog, target.identityLog)
  await copyFolder(paths.roles, target.roles)
  // The heads that were published last: a server cannot show CI an older offer than these.
  await copyFolder(paths.heads, target.heads, (name) => !name.endsWith('.waiting.json'))
  await writeHome(plan.folder, {
    ...description,
    identity: { ...description.identity, nextKeyFile: 'next-identity.keystore' },
    // Their keys stay here, so it cannot take one over when the release opens: then it asks for another bundle.
    sealedKeys: undefined,
    bundle: { made: new Date(plan.clock()).toISOString(), roles: [...plan.roles] },
  })
  return { secrets: secrets.map(([alias]) => alias) }
}

function secretsOf({ description }: HomeSession, roles: readonly BundleRole[]): (readonly [string, KeyKind])[] {
  const { aliases, slots } = description
  return [
    ...roles.map((role) => [aliases[role], role] as const),
    [aliases.archiveSigning, 'archive-signing'],
    [keyAlias.content(activeContentKey(description).keyId), 'content'],
    ...slots.map((slot) => [keyAlias.slot(slot), 'slot'] as const),
  ]
}

async function copySecrets(
  from: Keys,
  file: string,
  secrets: readonly (readonly [string, KeyKind])[],
  { passphrase, clock, scryptLogN }: BundlePlan,
): Promise<void> {
  const { Keys: Store } = await import('../keys.ts')
  const to = await Store.create(file, passphrase, {
    clock,
    keepPrevious: false,
    scryptLogN,
  })
  try {
    for (const [alias, kind] of secrets) await from.lend(alias, (secret) => to.add(alias, kind, secret))
  } finally {
    await to.close()
  }
}

async function copyFolder(from: string, to: string, takes: (name: string) => boolean = () => true): Promise<void> {
  await mkdir(to)
  const names = await readdir(from).catch((error: unknown): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  for (const name of names) if (name.endsWith('.json') && takes(name)) await copyFile(join(from, name), join(to, name))
}
