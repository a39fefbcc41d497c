import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { formatPin, sha256DigestSeal } from '@keyturn/kel'
import { incept } from '@keyturn/kel/owner'
import { writeRoles } from '@keyturn/manifest/publish'
import { keyCommitment } from '@keyturn/m2pack-format'
import { hexEncode, z32Encode } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { PublisherError } from './errors.ts'
import { homePaths, keyAlias, writeHome } from './home.ts'
import type { HomeDescription } from './home.ts'
import { Keys } from './keys.ts'
import type { KeysOptions } from './keys.ts'
import { daysFrom } from './time.ts'

/** What a new home is made for. */
export interface NewHome {
  /** Folder that must not hold one yet. */
  readonly folder: string
  readonly product: string
  readonly channel: string
  readonly server?: string | undefined
  /** Opens the keystore; the caller wipes it. */
  readonly passphrase: Uint8Array
  /** Opens the file with the next identity key; the caller wipes it. */
  readonly nextPassphrase: Uint8Array
  /** Days until role document 1 expires, at most 400. */
  readonly rolesDays: number
  readonly clock: Clock
  /** Cost of the passphrases; default 17. Lower only in tests. */
  readonly scryptLogN?: number
  /** Stops it: then there is no home. */
  readonly signal?: AbortSignal | undefined
}

/** What was made. */
export interface CreatedHome {
  readonly description: HomeDescription
  /** `did:keri:<prefix>?sn=0&said=…`: what launchers are built with. */
  readonly pin: string
  readonly nextKeyFile: string
}

/**
 * Creates a home: keystore, release identity, release and head key, role document 1, content key 1 and its slot,
 * archive signing key, transport identity. Made beside its place and renamed, so that it is whole or not there.
 *
 * @throws {@link PublisherError} `CLI_HOME_EXISTS`.
 */
export async function createHome(plan: NewHome): Promise<CreatedHome> {
  await refuseExisting(plan.folder)
  await mkdir(dirname(plan.folder), { recursive: true })
  const draft = join(dirname(plan.folder), `.${basename(plan.folder)}.new-${process.pid}`)
  await mkdir(draft, { mode: 0o700 })
  try {
    const created = await fill(draft, plan)
    plan.signal?.throwIfAborted()
    await rename(draft, plan.folder)
    await syncFolder(dirname(plan.folder))
    return { ...created, nextKeyFile: homePaths(plan.folder).nextIdentityKey }
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
}

async function refuseExisting(folder: string): Promise<void> {
  const found = await readdir(folder).catch((error: NodeJS.ErrnoException): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  if (found.includes('home.json')) throw new PublisherError('CLI_HOME_EXISTS', `"${folder}" already holds keys`)
  if (found.length > 0) throw new PublisherError('CLI_EXISTS', `"${folder}" is not empty`)
}

async function fill(folder: string, plan: NewHome): Promise<{ description: HomeDescription; pin: string }> {
  const paths = homePaths(folder)
  const options: KeysOptions = {
    clock: plan.clock,
    scryptLogN: plan.scryptLogN,
  }
  const keys = await Keys.create(paths.keystore, plan.passphrase, options)
  try {
    const nextKey = await makeNextKey(paths.nextIdentityKey, plan, options)
    const rolesBytes = await firstRoles(keys, plan)
    await keys.makeSigning(keyAlias.identity(1), 'identity')
    const signer = await keys.eventSigner([keyAlias.identity(1)])
    const inception = await incept(
      {
        keys: signer.publicKeys,
        nextKeys: [nextKey],
        traits: ['EO'],
        seals: [sha256DigestSeal(rolesBytes)],
      },
      signer,
    )
    await writeFileAtomic(paths.identityLog, inception.message)
    for (const below of [paths.roles, paths.releases, paths.heads, paths.transport, paths.journals]) await mkdir(below)
    await writeFileAtomic(join(paths.roles, '1.json'), rolesBytes)
    const description = await describe(keys, plan, inception.prefix)
    await writeHome(folder, description)
    return {
      description,
      pin: formatPin({ prefix: inception.prefix, place: { sn: inception.sn, said: inception.said } }),
    }
  } finally {
    await keys.close()
  }
}

async function makeNextKey(path: string, plan: NewHome, options: KeysOptions): Promise<Uint8Array> {
  // It will be moved away: no earlier generation of it may be left.
  const nextKeys = await Keys.create(path, plan.nextPassphrase, { ...options, keepPrevious: false })
  try {
    return await nextKeys.makeSigning(keyAlias.identity(2), 'identity')
  } finally {
    await nextKeys.close()
  }
}

async function firstRoles(keys: Keys, plan: NewHome): Promise<Uint8Array> {
  const release = await keys.makeSigning(keyAlias.release(1), 'release')
  const head = await keys.makeSigning(keyAlias.head(1), 'head')
  const transport = await keys.makeSigning(keyAlias.transportIdentity(1), 'transport-identity')
  const now = plan.clock()
  return writeRoles({
    product: plan.product,
    version: 1,
    epoch: 1,
    issuedAt: daysFrom(now, 0),
    expiresAt: daysFrom(now, plan.rolesDays),
    roles: { release: { keys: [hexEncode(release)], threshold: 1 }, head: { keys: [hexEncode(head)], threshold: 1 } },
    revokedKeys: [],
    transport: [z32Encode(transport)],
  })
}

async function describe(keys: Keys, plan: NewHome, prefix: string): Promise<HomeDescription> {
  const created = new Date(plan.clock()).toISOString()
  const verifier = await keys.makeSigning(keyAlias.archiveSigning(1), 'archive-signing')
  await keys.make(keyAlias.content(1), 'content')
  await keys.make(keyAlias.slot(1), 'slot')
  const commitment = await keys.lend(keyAlias.content(1), (key) => keyCommitment({ keyId: 1, key }))
  return {
    format: 'keyturn-home',
    version: 1,
    product: plan.product,
    channel: plan.channel,
    ...(plan.server === undefined ? {} : { server: plan.server }),
    created,
    identity: {
      prefix,
      alias: keyAlias.identity(1),
      nextAlias: keyAlias.identity(2),
      nextKeyFile: basename(homePaths('').nextIdentityKey),
    },
    aliases: {
      release: keyAlias.release(1),
      head: keyAlias.head(1),
      archiveSigning: keyAlias.archiveSigning(1),
      transportIdentity: keyAlias.transportIdentity(1),
    },
    since: Object.fromEntries(
      [
        keyAlias.identity(1),
        keyAlias.release(1),
        keyAlias.head(1),
        keyAlias.archiveSigning(1),
        keyAlias.transportIdentity(1),
      ].map((alias) => [alias, created]),
    ),
    contentKeys: [
      { keyId: 1, verifierPub: hexEncode(verifier), commitment: hexEncode(commitment), status: 'active', created },
    ],
    slots: [1],
  }
}
