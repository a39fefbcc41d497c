import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256DigestSeal, verifyLog } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import { ManifestError, parseManifest, parseRoles, sealedRoles, verifyManifestSignatures } from '@keyturn/manifest'
import { checkVersionName } from '@keyturn/manifest/publish'
import type { Head, ReleaseManifest, SigningRule } from '@keyturn/manifest'
import { KeyturnError, printable } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import { placeInside, removeInside } from '../inside.ts'
import type { HomeSession } from '../home-session.ts'
import { noteHeadPublished } from '../records/heads.ts'
import { ServerFiles } from '../server/server-files.ts'
import { checkSignsAlone } from '../release/sign-release.ts'
import { findRelease, keepRelease, readIdentityLog, readIfThere, readReleases, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { readChannelsWithHead, readKnownHeads } from '../records/verified-head.ts'
import type { KnownHeads } from '../records/verified-head.ts'

/**
 * Takes from the server what a home lacks to follow the offer of a channel: the head in force, and the releases that it
 * names. Everything is verified with what the home trusts already before it is kept.
 *
 * @param home - Open home, locked.
 * @param channel - The channel.
 * @param client - Its server.
 * @returns What is known of the head, as `readKnownHeads` says it.
 * @throws {@link PublisherError} `REL_SERVER_FILE`; `MAN_` codes of what a server shows and is not signed as it must
 *   be.
 */
export async function catchUp(home: HomeSession, channel: string, client: ReleaseServerClient): Promise<KnownHeads> {
  const files = new ServerFiles(client, home.description.product)
  const known = await readKnownHeads(home, channel, client)
  const { server } = known
  if (server === undefined) return known
  await keepOffer(home, files, server.head)
  if (known.base?.source !== 'server') return known
  await noteHeadPublished(home.paths, channel, server.bytes)
  return known
}

/**
 * Takes from the server the events of the log that a home for CI lacks, and the role documents that they seal. Such a
 * home has no identity key, so it holds nothing that could rival them; in any other one, its owner decides.
 *
 * @param home - Open home, locked.
 * @param client - Its server.
 * @throws {@link PublisherError} `CLI_HOME_STALE` when the server's log does not go on where ours ends,
 *   `REL_SERVER_FILE`;
 *   `KEL_` codes.
 */
export async function catchUpTrust(home: HomeSession, client: ReleaseServerClient): Promise<void> {
  const { paths, description } = home
  const files = new ServerFiles(client, description.product)
  const { prefix } = description.identity
  const bytes = await files.log(prefix)
  if (bytes === undefined) return
  const log = verifyLog(bytes, { prefix })
  const { log: own } = await readIdentityLog(paths, prefix)
  if (own.events.length > log.events.length) return
  const last = own.events.length - 1
  if (log.events[last]?.said !== own.events[last]?.said)
    throw new PublisherError('CLI_HOME_STALE', 'The key event log of the server is not the one that this home knows', {
      hint: 'Make a new bundle with "keyturn ci bundle"; if that is refused too, run "keyturn doctor" in that home',
    })
  await keepRoles(home, files, log)
  if (log.events.length > own.events.length) await writeFileAtomic(paths.identityLog, bytes)
}

async function keepRoles({ paths }: HomeSession, files: ServerFiles, log: VerifiedLog): Promise<void> {
  await mkdir(paths.roles, { recursive: true })
  for (const { version, seal } of sealedRoles(log)) {
    const path = join(paths.roles, `${version}.json`)
    const known = await readIfThere(path)
    if (known !== undefined && sha256DigestSeal(known).d === seal) continue
    const bytes = await files.roles(version)
    if (bytes === undefined || sha256DigestSeal(bytes).d !== seal)
      throw new PublisherError('REL_SERVER_FILE', `The server lacks role document ${version}, which the log seals`)
    parseRoles(bytes)
    await writeFileAtomic(path, bytes)
  }
}

/** Who may sign the releases of a channel now. */
async function releaseRule({ paths, description }: HomeSession): Promise<SigningRule> {
  const { document } = await rolesInForce(paths, description.identity.prefix)
  return { ...document.roles.release, revokedKeys: document.revokedKeys }
}

/** The releases that a verified head names, as far as this home lacks them. */
async function keepOffer(home: HomeSession, files: ServerFiles, head: Head): Promise<void> {
  const own = new Set((await readReleases(home.paths, head.channel)).map(({ sha256 }) => sha256))
  const rule = await releaseRule(home)
  const { channel, manifest, fallback } = head
  // What is scheduled stays with the home that scheduled it.
  for (const pin of [fallback, manifest]) {
    if (pin === undefined || own.has(pin.sha256)) continue
    own.add(pin.sha256)
    const bytes = await files.manifest(channel, pin)
    if (bytes === undefined) throw lacksManifest(pin.version)
    await keepSigned(home, files, { bytes, channel, version: pin.version, rule })
  }
}

interface Signed {
  /** Literal bytes of the manifest. */
  readonly bytes: Uint8Array
  readonly channel: string
  readonly version: string
  readonly rule: SigningRule
}

/** Keeps a release that the release keys in force have signed. */
async function keepSigned(
  home: HomeSession,
  files: ServerFiles,
  { bytes, rule, ...place }: Signed,
): Promise<StoredRelease> {
  const { channel, version } = place
  const signatures = await files.beside(channel, version, 'sigs.json')
  if (signatures === undefined) throw lacksManifest(version)
  verifyManifestSignatures(bytes, signatures, rule)
  const manifest = checkPlace(parseManifest(bytes), { product: home.description.product, ...place })
  await removeUnpublished(home, manifest)
  const indexes = await indexesOf(files, manifest)
  const legacySignature = await files.beside(channel, version, 'json.sig')
  // Its files are on the server; this is where they would be.
  const tree = placeInside(home.paths.trees, channel, version)
  return await keepRelease(home.paths, { bytes, signatures, legacySignature, tree, indexes })
}

function lacksManifest(version: string): PublisherError {
  return new PublisherError(
    'REL_SERVER_FILE',
    `The server lacks the manifest of release ${version}, or its signatures`,
    {
      details: { missing: 1 },
    },
  )
}

/**
 * A release by its version: from the home, else from the history of the server, where another machine published it.
 *
 * @param home - Open home, locked.
 * @param client - The server; undefined when none is asked.
 * @throws {@link PublisherError} `CLI_PATH_UNKNOWN` when neither has it; `MAN_` codes of one that is not signed by the
 *   release keys in force.
 */
export async function findOrFetchRelease(
  home: HomeSession,
  channel: string,
  version: string | undefined,
  client: ReleaseServerClient | undefined,
): Promise<StoredRelease> {
  const isHere = (await readReleases(home.paths, channel)).some(({ manifest }) => manifest.version === version)
  if (version === undefined || isHere || client === undefined) return await findRelease(home.paths, channel, version)
  checkVersionName(version)
  const files = new ServerFiles(client, home.description.product)
  const bytes = await files.namedManifest(channel, version)
  if (bytes === undefined) return await findRelease(home.paths, channel, version)
  return await keepSigned(home, files, { bytes, channel, version, rule: await releaseRule(home) })
}

/**
 * The sequence of a release that the server lists, from the manifest that the release keys in force signed.
 *
 * @param home - Open home.
 * @param client - Its server.
 * @returns 0 when the server shows nothing by that name that counts: what only a server says is never signed.
 */
export async function signedSequence(
  home: HomeSession,
  client: ReleaseServerClient,
  { channel, version }: { readonly channel: string; readonly version: string },
): Promise<number> {
  const { product } = home.description
  const files = new ServerFiles(client, product)
  try {
    checkVersionName(version)
    const bytes = await files.namedManifest(channel, version)
    const signatures = bytes && (await files.beside(channel, version, 'sigs.json'))
    if (bytes === undefined || signatures === undefined) return 0
    verifyManifestSignatures(bytes, signatures, await releaseRule(home))
    return checkPlace(parseManifest(bytes), { product, channel, version }).sequence ?? 0
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.kind === 'unavailable') throw error
    return 0
  }
}

/**
 * Checks before a stolen key is revoked that the server shows nothing that this home did not offer: what a thief may
 * have offered is never signed again because a server shows it.
 *
 * @param home - Open home.
 * @param client - Its server; undefined when none is asked.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`, with what to do if the release is our own, and if it is not.
 */
export async function refuseUnknownOffers(home: HomeSession, client: ReleaseServerClient | undefined): Promise<void> {
  if (client === undefined) return
  // All of them, since a rotation signs again what every channel offers.
  for (const channel of await readChannelsWithHead(home, client)) {
    const { base } = await readKnownHeads(home, channel, client)
    const pin = base?.source === 'server' ? base.head.manifest : undefined
    const own = await readReleases(home.paths, channel)
    if (pin === undefined || own.some(({ sha256 }) => sha256 === pin.sha256)) continue
    throw new PublisherError(
      'CLI_TURN_UNREADY',
      `Channel "${channel}" offers ${printable(pin.version, 64)}, which this home did not offer`,
      {
        details: { version: printable(pin.version, 64) },
        hint: 'If it is yours, run "keyturn release renew" first; if not, "keyturn release rollback VERSION" brings back yours',
      },
    )
  }
}

/**
 * Takes from the server what other machines offered on any channel, before a key is rotated: the rotation has to sign
 * what players are offered now. A server that does not answer is left out.
 *
 * @param home - Open home, locked.
 * @param client - Its server; undefined when none is asked.
 */
export async function followOffers(home: HomeSession, client: ReleaseServerClient | undefined): Promise<void> {
  if (client === undefined) return
  try {
    for (const channel of await readChannelsWithHead(home, client)) await catchUp(home, channel, client)
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.kind !== 'unavailable') throw error
  }
}

function checkPlace(
  manifest: ReleaseManifest,
  { product, channel, version }: { readonly product: string; readonly channel: string; readonly version: string },
): ReleaseManifest {
  if (manifest.product === product && manifest.channel === channel && manifest.version === version) return manifest
  throw new ManifestError(
    'MAN_PIN',
    `The manifest that the server shows as ${version} is of another release or channel`,
  )
}

/** A draft of this home under a name that was published elsewhere: it can never be offered. */
async function removeUnpublished({ paths }: HomeSession, { channel = '', version }: ReleaseManifest): Promise<void> {
  const draft = (await readReleases(paths, channel)).find(({ manifest }) => manifest.version === version)
  if (draft === undefined) return
  await removeInside(join(paths.releases, channel), version)
  if (draft.tree === placeInside(paths.trees, channel, version)) await removeInside(paths.trees, channel, version)
}

async function indexesOf(files: ServerFiles, { files: listed }: ReleaseManifest): Promise<Map<string, Uint8Array>> {
  const indexes = new Map<string, Uint8Array>()
  for (const { index } of listed)
    if (index !== undefined && !indexes.has(index.sha256))
      indexes.set(index.sha256, await files.blob(index.sha256, index.size))
  return indexes
}

/**
 * Checks that the keys with which a home would make a release are those in force: a bundle or backup may be older than
 * the last rotation.
 *
 * @param home - Open home; asks for the passphrase.
 * @param offered - What the channel offers now.
 * @throws {@link PublisherError} `CLI_HOME_STALE` naming the key.
 */
export async function checkKeysInForce(home: HomeSession, offered: StoredRelease | undefined): Promise<void> {
  const { description, paths } = home
  const { document } = await rolesInForce(paths, description.identity.prefix)
  const keys = await home.keys()
  for (const role of ['release', 'head'] as const) {
    const alias = description.aliases[role]
    if (!keys.has(alias))
      throw stale(home, `This home has no ${role} key`, `Make a bundle with "keyturn ci bundle --roles release,head"`)
    const key = Buffer.from(await keys.publicKey(alias)).toString('hex')
    if (!document.roles[role].keys.includes(key))
      throw stale(home, `The ${role} key of this home is not in role document ${document.version}, which is in force`)
  }
  await checkSignsAlone(home, document)
  if (offered !== undefined) checkContentKeys(home, offered)
}

/**
 * Checks that the content keys of a release are those of this home.
 *
 * @param home - Open home.
 * @param release - What a channel offers.
 * @throws {@link PublisherError} `CLI_HOME_STALE` naming the key.
 */
export function checkContentKeys(home: HomeSession, { manifest }: StoredRelease): void {
  const { contentKeys } = home.description
  const unknown = manifest.contentKeys.find(
    (key) => !contentKeys.some(({ keyId, commitment }) => keyId === key.keyId && commitment === key.commitment),
  )
  if (unknown === undefined) return
  const version = printable(manifest.version, 64)
  throw stale(home, `Release ${version} was made with content key ${unknown.keyId}, which is not in this home`)
}

function stale({ description }: HomeSession, message: string, hint?: string): PublisherError {
  return new PublisherError('CLI_HOME_STALE', message, {
    hint:
      hint ??
      (description.bundle === undefined
        ? 'Nothing was signed. Restore the newest backup, or use the machine that rotated last'
        : 'Nothing was signed. Make a new bundle with "keyturn ci bundle" in the home that rotated it'),
  })
}
