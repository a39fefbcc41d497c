import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256DigestSeal } from '@keyturn/kel'
import { checkRolesStep, parseRoles, writeRoles } from '@keyturn/manifest'
import type { RoleDocument } from '@keyturn/manifest'
import { base64Decode, base64Encode, equalBytes, hexEncode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { releaseIdentity } from '../identity/identity.ts'
import { receiptCollector } from '../identity/receipts.ts'
import { dropProposal, readProposal } from '../identity/roles-proposal.ts'
import { PublisherError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { publishTrust, publishTurn } from '../release/publish-release.ts'
import { issueHead, signRelease } from '../release/sign-release.ts'
import { findRelease, readStoredHead, rolesInForce } from '../release/store.ts'
import { daysFrom } from '../time.ts'
import { readTurn } from './journal.ts'
import type { TurnStep } from './journal.ts'
import { checkKeyTurn, keyTurnSteps } from './key-rotation.ts'
import { refuseRivals } from './pending.ts'

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
  /** Keep the identity key that is turned away in the keystore; default: it is removed. */
  readonly keepOldKey?: boolean
  readonly client?: ReleaseServerClient | undefined
  readonly nowMs: number
  readonly signal?: AbortSignal
}

/**
 * Checks before a turn of the release identity begins or goes on that keystores open and hold what is promised, and that
 * no other turn is in its way. Writes nothing.
 *
 * @param home - Open home; asks for the passphrases.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`, `CLI_TURN_PENDING`; KeystoreError `KEY_PASSPHRASE`.
 */
export async function checkIdentityTurn(home: HomeSession): Promise<void> {
  await refuseRivals(home.paths, 'identity')
  await checkKeyTurn(releaseIdentity(home), {}, await readTurn(home.paths.journals, 'identity'))
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
  const { client, nowMs, signal } = options
  const identity = releaseIdentity(home)
  return [
    { name: 'plan', title: 'work out the turn', run: (facts) => plan(home, options, facts) },
    { name: 'keys', title: 'make the new day-to-day keys', run: (facts) => makeKeys(home, facts) },
    { name: 'roles', title: 'write the next role document', run: (facts) => writeDocument(home, facts) },
    ...keyTurnSteps(identity, {
      nowMs,
      keepOldKey: options.keepOldKey,
      terms: (facts) => ({ seals: [sha256DigestSeal(base64Decode(String(facts['roles'])))] }),
      collect: async (event) => (await receiptCollector(identity, signal))(event),
    }),
    { name: 'home', title: 'put the new day-to-day keys in force', run: (facts) => putInForce(home, facts) },
    { name: 'sign', title: 'sign what is published again', run: (facts) => signAgain(home, facts, nowMs) },
    ...(client === undefined
      ? []
      : [
          {
            name: 'publish',
            title: 'publish role document, log, signatures and heads',
            run: (facts: JsonObject) => publish(home, client, facts),
          },
        ]),
  ]
}

/** The key of this home that will sign for a role: the one in use while it stays, else the newest that is listed. */
async function signingAlias(home: HomeSession, kind: 'release' | 'head', listed: readonly string[]): Promise<string> {
  const keys = await home.keys()
  const current = home.description.aliases[kind]
  const candidates = keys.store
    .list()
    .map(({ alias }) => alias)
    .filter((alias) => alias.startsWith(`${kind}/`))
    .toReversed()
  for (const alias of [current, ...candidates]) {
    if (keys.has(alias) && listed.includes(hexEncode(await keys.publicKey(alias)))) return alias
  }
  return current
}

/** Facts of a turn that seals a document as it was proposed. */
async function proposed(home: HomeSession, bytes: Uint8Array, inForce: RoleDocument): Promise<JsonObject> {
  const document = parseRoles(bytes)
  if (document.version !== inForce.version + 1) {
    throw new PublisherError(
      'CLI_TURN_UNREADY',
      `The proposed role document is number ${document.version}, number ${inForce.version + 1} is due`,
      {
        hint: 'Run "keyturn roles propose" again',
      },
    )
  }
  checkRolesStep(inForce, document)
  return {
    proposal: base64Encode(bytes),
    release: await signingAlias(home, 'release', document.roles.release.keys),
    head: await signingAlias(home, 'head', document.roles.head.keys),
  }
}

async function plan(
  home: HomeSession,
  options: IdentityTurnOptions,
  { also_revoke: also }: JsonObject,
): Promise<JsonObject> {
  await checkIdentityTurn(home)
  const { identity, aliases } = home.description
  const roles = await rolesInForce(home.paths, identity.prefix)
  const channels: string[] = []
  for (const channel of options.channels)
    if ((await readStoredHead(home.paths, channel)) !== undefined) channels.push(channel)
  return {
    at: options.nowMs,
    roles_version: roles.document.version + 1,
    release: options.releaseKey === false ? aliases.release : followingAlias(aliases.release),
    head: options.headKey === true ? followingAlias(aliases.head) : aliases.head,
    release_key: options.proposal === undefined && options.releaseKey !== false,
    head_key: options.proposal === undefined && options.headKey === true,
    revoke: options.revoke === true,
    roles_days: options.rolesDays ?? 365,
    channels,
    ...(also === undefined ? {} : { also_revoke: also }),
    ...(options.proposal === undefined ? {} : await proposed(home, options.proposal, roles.document)),
  }
}

async function makeKeys(home: HomeSession, facts: JsonObject): Promise<undefined> {
  const keys = await home.keys()
  await keys.make(String(facts['release']), 'release')
  await keys.make(String(facts['head']), 'head')
  return undefined
}

/** On disk before the log seals it: a log whose role document is missing could not be read. */
async function writeDocument(home: HomeSession, facts: JsonObject): Promise<JsonObject> {
  const bytes =
    facts['proposal'] === undefined ? await nextDocument(home, facts) : base64Decode(String(facts['proposal']))
  await writeFileAtomic(join(home.paths.roles, `${parseRoles(bytes).version}.json`), bytes)
  return { roles: base64Encode(bytes) }
}

async function nextDocument(home: HomeSession, facts: JsonObject): Promise<Uint8Array> {
  const keys = await home.keys()
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const [release, head] = await Promise.all([
    keys.publicKey(String(facts['release'])),
    keys.publicKey(String(facts['head'])),
  ])
  const next = {
    release: swap(document.roles.release.keys, await keys.publicKey(home.description.aliases.release), release),
    head: swap(document.roles.head.keys, await keys.publicKey(home.description.aliases.head), head),
  }
  const staying = new Set([...next.release, ...next.head])
  const leaving = [...document.roles.release.keys, ...document.roles.head.keys].filter((key) => !staying.has(key))
  const at = Number(facts['at'])
  return writeRoles({
    ...document,
    version: Number(facts['roles_version']),
    issuedAt: daysFrom(at, 0),
    expiresAt: daysFrom(at, Number(facts['roles_days'])),
    roles: {
      release: { ...document.roles.release, keys: next.release },
      head: { ...document.roles.head, keys: next.head },
    },
    revokedKeys: [
      ...new Set([
        ...document.revokedKeys,
        ...(facts['revoke'] === true ? leaving : []),
        ...wordsOf(facts, 'also_revoke').filter((key) => !staying.has(key)),
      ]),
    ],
  })
}

/** The keys of a role with one replaced; those of other holders stay. */
function swap(keys: readonly string[], old: Uint8Array, fresh: Uint8Array): string[] {
  return keys.map((key) => (key === hexEncode(old) ? hexEncode(fresh) : key))
}

async function putInForce(home: HomeSession, facts: JsonObject): Promise<undefined> {
  const at = new Date(Number(facts['at'])).toISOString()
  const [release, head] = [String(facts['release']), String(facts['head'])]
  await home.update({
    aliases: { ...home.description.aliases, release, head },
    since: { [release]: at, [head]: at, ...home.description.since },
  })
  // A proposal that this turn sealed waits no longer, whichever command finished it.
  const proposal = await readProposal(home.paths)
  if (proposal !== undefined && equalBytes(proposal.bytes, base64Decode(String(facts['roles']))))
    await dropProposal(home.paths)
  return undefined
}

async function signAgain(home: HomeSession, facts: JsonObject, nowMs: number): Promise<undefined> {
  for (const channel of channelsOf(facts)) {
    const last = await readStoredHead(home.paths, channel)
    if (last === undefined) continue
    const release = await signRelease(home, await findRelease(home.paths, channel, last.head.manifest.version))
    const fallback =
      last.head.fallback === undefined
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
    if (head !== undefined)
      await publishTurn(home, client, await findRelease(home.paths, channel, head.head.manifest.version), head)
  }
  return undefined
}

function channelsOf(facts: JsonObject): string[] {
  return wordsOf(facts, 'channels')
}

function wordsOf(facts: JsonObject, name: string): string[] {
  const words = facts[name]
  return Array.isArray(words) ? words.map(String) : []
}

/**
 * What the turn that follows one must know when it is to revoke and the one before did not: the keys that left with it,
 * for one of them is the stolen one.
 *
 * @param home - Open home.
 * @param facts - Of the turn that is over.
 * @param kinds - Whose keys.
 */
export async function leftBehind(
  home: HomeSession,
  facts: JsonObject,
  kinds: { readonly releaseKey: boolean; readonly headKey: boolean },
): Promise<JsonObject> {
  const after = parseRoles(base64Decode(String(facts['roles'])))
  const before = parseRoles(await readFile(join(home.paths.roles, `${after.version - 1}.json`)))
  const roles = [...(kinds.releaseKey ? ['release' as const] : []), ...(kinds.headKey ? ['head' as const] : [])]
  const staying = new Set([...after.roles.release.keys, ...after.roles.head.keys])
  return {
    also_revoke: [...new Set(roles.flatMap((role) => before.roles[role].keys))].filter((key) => !staying.has(key)),
  }
}
