import { join } from 'node:path'
import { rotate, sha256DigestSeal } from '@keyturn/kel'
import { checkRolesStep, parseRoles, writeRoles, type RoleDocument } from '@keyturn/manifest'
import { base64Decode, base64Encode, concatBytes, hexEncode, type JsonObject } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-server/client'
import { receiptCollector } from '../commands/id-receipts.ts'
import { CliError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { HomeSession } from '../publisher/home-session.ts'
import { publishTrust, publishTurn } from '../publisher/publish-release.ts'
import { issueHead, signRelease } from '../publisher/sign-release.ts'
import { findRelease, readIdentityLog, readStoredHead, rolesInForce } from '../publisher/store.ts'
import { daysFrom } from '../publisher/time.ts'
import { checkIdentityTurn } from './identity-ready.ts'
import { readTurn, type TurnStep } from './journal.ts'

/** What a turn of the identity is told. */
export interface IdentityTurnOptions {
  /** Channels whose current release is signed again. */
  readonly channels: readonly string[]
  /** Turn the release key too; default true. */
  readonly releaseKey?: boolean
  /** Turn the head key too; default false. */
  readonly headKey?: boolean
  /** Put the keys that leave into `revoked_keys`: for stolen ones. */
  readonly revoke?: boolean
  /** Days until the new role document expires, at most 400; default 365. */
  readonly rolesDays?: number
  /** Literal bytes of the role document to seal, with keys of this home or of others; then no key is turned beside. */
  readonly proposal?: Uint8Array | undefined
  readonly client?: ReleaseServerClient | undefined
  readonly nowMs: number
}

/**
 * The steps of a turn of the release identity: the pre-rotated key comes into force, a fresh one takes its place in the
 * file of its own, and the rotation seals the next role document with the new day-to-day keys. What is installed stays:
 * the same manifest bytes are signed again.
 *
 * @param home - Open home, locked.
 * @param options - What turns with it.
 */
export function identityTurnSteps(home: HomeSession, options: IdentityTurnOptions): TurnStep[] {
  const { client, nowMs } = options
  return [
    { name: 'plan', title: 'work out the turn', run: () => plan(home, options) },
    { name: 'next-key', title: 'make the key after next', run: (facts) => makeNextKey(home, facts) },
    { name: 'keys', title: 'take the pre-rotated key over and make the new day-to-day keys', run: (facts) => takeKeys(home, facts) },
    { name: 'roles', title: 'write the next role document', run: (facts) => proposeRoles(home, facts) },
    { name: 'rotation', title: 'rotate: the pre-rotated key seals the role document', run: (facts) => sealRoles(home, facts) },
    { name: 'home', title: 'put the new keys in force', run: (facts) => putInForce(home, facts) },
    { name: 'sign', title: 'sign what is published again', run: (facts) => signAgain(home, facts, nowMs) },
    ...(client === undefined ? [] : [{
      name: 'publish', title: 'publish role document, log, signatures and heads',
      run: (facts: JsonObject) => publish(home, client, facts),
    }]),
  ]
}

/** The key of this home that will sign for a role: the one in use while it stays, else the newest that is listed. */
async function signingAlias(home: HomeSession, kind: 'release' | 'head', listed: readonly string[]): Promise<string> {
  const keys = await home.keys()
  const current = home.description.aliases[kind]
  const candidates = keys.store.list().map(({ alias }) => alias).filter((alias) => alias.startsWith(`${kind}/`)).toReversed()
  for (const alias of [current, ...candidates]) {
    if (keys.has(alias) && listed.includes(hexEncode(await keys.publicKey(alias)))) return alias
  }
  return current
}

/** Facts of a turn that seals a document as it was proposed. */
async function proposed(home: HomeSession, bytes: Uint8Array, inForce: RoleDocument): Promise<JsonObject> {
  const document = parseRoles(bytes)
  if (document.version !== inForce.version + 1) {
    throw new CliError('CLI_TURN_UNREADY', `The proposed role document is number ${document.version}, number ${inForce.version + 1} is due`, {
      hint: 'Run "keyturn roles propose" again',
    })
  }
  checkRolesStep(inForce, document)
  return {
    proposal: base64Encode(bytes),
    release: await signingAlias(home, 'release', document.roles.release.keys),
    head: await signingAlias(home, 'head', document.roles.head.keys),
  }
}

async function plan(home: HomeSession, options: IdentityTurnOptions): Promise<JsonObject> {
  if (await readTurn(home.paths.journals, 'identity-key') !== undefined) {
    throw new CliError('CLI_TURN_PENDING', 'A rotation of the identity alone was interrupted', { hint: 'Run "keyturn id rotate" again to finish it' })
  }
  await checkIdentityTurn(home)
  const { identity, aliases } = home.description
  const { log } = await readIdentityLog(home.paths, identity.prefix)
  const roles = await rolesInForce(home.paths, identity.prefix)
  const channels: string[] = []
  for (const channel of options.channels) if (await readStoredHead(home.paths, channel) !== undefined) channels.push(channel)
  return {
    at: options.nowMs, sn: log.state.sn + 1, roles_version: roles.document.version + 1,
    identity: identity.nextAlias, next: followingAlias(identity.nextAlias),
    release: options.releaseKey === false ? aliases.release : followingAlias(aliases.release),
    head: options.headKey === true ? followingAlias(aliases.head) : aliases.head,
    revoke: options.revoke === true, roles_days: options.rolesDays ?? 365, channels,
    ...(options.proposal === undefined ? {} : await proposed(home, options.proposal, roles.document)),
  }
}

async function makeNextKey(home: HomeSession, facts: JsonObject): Promise<JsonObject> {
  const nextKeys = await home.nextKeys()
  return { next_public: hexEncode(await nextKeys.makeSigning(String(facts['next']), 'identity')) }
}

async function takeKeys(home: HomeSession, facts: JsonObject): Promise<undefined> {
  const keys = await home.keys()
  const nextKeys = await home.nextKeys()
  const alias = String(facts['identity'])
  if (!keys.has(alias)) await nextKeys.lend(alias, async (seed) => { await keys.add(alias, 'identity', seed) })
  await keys.make(String(facts['release']), 'release')
  await keys.make(String(facts['head']), 'head')
  return undefined
}

async function proposeRoles(home: HomeSession, facts: JsonObject): Promise<JsonObject> {
  if (facts['proposal'] !== undefined) return { roles: facts['proposal'] }
  const keys = await home.keys()
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const [release, head] = await Promise.all([keys.publicKey(String(facts['release'])), keys.publicKey(String(facts['head']))])
  const next = {
    release: swap(document.roles.release.keys, await keys.publicKey(home.description.aliases.release), release),
    head: swap(document.roles.head.keys, await keys.publicKey(home.description.aliases.head), head),
  }
  const staying = new Set([...next.release, ...next.head])
  const leaving = [...document.roles.release.keys, ...document.roles.head.keys].filter((key) => !staying.has(key))
  const at = Number(facts['at'])
  const proposed: RoleDocument = {
    ...document,
    version: Number(facts['roles_version']),
    issuedAt: daysFrom(at, 0), expiresAt: daysFrom(at, Number(facts['roles_days'])),
    roles: {
      release: { ...document.roles.release, keys: next.release },
      head: { ...document.roles.head, keys: next.head },
    },
    revokedKeys: facts['revoke'] === true ? [...document.revokedKeys, ...leaving] : document.revokedKeys,
  }
  return { roles: base64Encode(writeRoles(proposed)) }
}

/** The keys of a role with one replaced; those of other holders stay. */
function swap(keys: readonly string[], old: Uint8Array, fresh: Uint8Array): string[] {
  return keys.map((key) => key === hexEncode(old) ? hexEncode(fresh) : key)
}

async function sealRoles(home: HomeSession, facts: JsonObject): Promise<JsonObject> {
  const { identity } = home.description
  const { bytes, log } = await readIdentityLog(home.paths, identity.prefix)
  if (log.state.sn >= Number(facts['sn'])) return { said: log.state.said }
  const roles = base64Decode(String(facts['roles']))
  const { version } = parseRoles(roles)
  const keys = await home.keys()
  const signer = await keys.eventSigner([String(facts['identity'])])
  const nextKey = await (await home.nextKeys()).publicKey(String(facts['next']))
  const rotation = await rotate(log.state, { keys: signer.publicKeys, nextKeys: [nextKey], seals: [sha256DigestSeal(roles)] }, signer)
  const message = rotation.state.witnesses.length === 0 ? rotation.message
    : await (await receiptCollector({ logPath: home.paths.identityLog }))(rotation)
  // The document first: a log whose role document is missing could not be read.
  await writeFileAtomic(join(home.paths.roles, `${version}.json`), roles)
  await writeFileAtomic(home.paths.identityLog, concatBytes(bytes, message))
  return { said: rotation.said }
}

async function putInForce(home: HomeSession, facts: JsonObject): Promise<undefined> {
  const { identity, aliases } = home.description
  const at = new Date(Number(facts['at'])).toISOString()
  const fresh = Object.fromEntries(['identity', 'release', 'head'].map((name) => [String(facts[name]), at]))
  await home.update({
    identity: { ...identity, alias: String(facts['identity']), nextAlias: String(facts['next']) },
    aliases: { ...aliases, release: String(facts['release']), head: String(facts['head']) },
    since: { ...fresh, ...home.description.since },
  })
  // The key now in force is in the keystore; the file of its own keeps only what comes next.
  const nextKeys = await home.nextKeys()
  if (nextKeys.has(String(facts['identity']))) await nextKeys.store.remove(String(facts['identity']))
  return undefined
}

async function signAgain(home: HomeSession, facts: JsonObject, nowMs: number): Promise<undefined> {
  for (const channel of channelsOf(facts)) {
    const last = await readStoredHead(home.paths, channel)
    if (last === undefined) continue
    const release = await signRelease(home, await findRelease(home.paths, channel, last.head.manifest.version))
    const fallback = last.head.fallback === undefined
      ? undefined
      : await signRelease(home, await findRelease(home.paths, channel, last.head.fallback.version))
    await issueHead(home, release, { nowMs, fallback, rollout: last.head.rollout })
  }
  return undefined
}

async function publish(home: HomeSession, client: ReleaseServerClient, facts: JsonObject): Promise<undefined> {
  // Nothing is offered yet: log and role documents alone.
  if (channelsOf(facts).length === 0) await publishTrust(home, client)
  for (const channel of channelsOf(facts)) {
    const head = await readStoredHead(home.paths, channel)
    if (head !== undefined) await publishTurn(home, client, await findRelease(home.paths, channel, head.head.manifest.version), head)
  }
  return undefined
}

function channelsOf(facts: JsonObject): string[] {
  const { channels } = facts
  return Array.isArray(channels) ? channels.map(String) : []
}
