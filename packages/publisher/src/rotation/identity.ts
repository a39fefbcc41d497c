import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256DigestSeal } from '@keyturn/kel'
import { parseRoles } from '@keyturn/manifest'
import { checkRolesStep, writeRoles } from '@keyturn/manifest/publish'
import type { RoleDocument } from '@keyturn/manifest'
import { equalBytes, hexEncode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { releaseIdentity } from '../identity/identity.ts'
import { receiptCollector } from '../identity/receipts.ts'
import { dropProposal, readProposal } from '../identity/roles-proposal.ts'
import { PublisherError } from '../errors.ts'
import { followingAlias } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { killedKeys } from '../release/kill.ts'
import { offeringChannels, readStoredHead } from '../records/heads.ts'
import { readRoles, rolesInForce } from '../records/store.ts'
import { daysFrom } from '../time.ts'
import { damagedJournal } from './facts.ts'
import { identityRotation } from './identity-state.ts'
import type { IdentityState, IdentityTerms } from './identity-state.ts'
import { readRotation } from './journal.ts'
import type { RotationStep } from './journal.ts'
import { checkKeyRotation, keyRotationSteps } from './key-rotation.ts'
import { refuseRivals } from './pending.ts'
import { signingAlias, transportAlias } from './settle.ts'
import { publishSigned, signAgain } from './sign-again.ts'
import { setTransportAside } from './transport-identity.ts'

/** How the release identity is rotated. */
export interface IdentityRotationOptions {
  /** Channels that get a new head, and whose current release is signed again; default: all that offer something. */
  readonly channels?: readonly string[] | undefined
  /** Rotate the release key too; default true. */
  readonly releaseKey?: boolean | undefined
  /** Rotate the head key too; default false. */
  readonly headKey?: boolean | undefined
  /** Put the keys that leave into `revoked_keys`: for stolen ones. */
  readonly revoke?: boolean | undefined
  /** Replace keys, too, that a rotation on a machine that is lost made and put in force; default false. */
  readonly lostKeys?: boolean | undefined
  /** Days until the new role document expires, at most 400; default 365. */
  readonly rolesDays?: number | undefined
  /**
   * Literal bytes of the role document to seal, with keys of this home or of others; then no other key is rotated with
   * it.
   */
  readonly proposal?: Uint8Array | undefined
  /** Keep the identity key that leaves in the keystore; default: it is removed. */
  readonly keepOldKey?: boolean | undefined
  readonly client?: ReleaseServerClient | undefined
  readonly nowMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Checks before a rotation of the release identity begins or goes on all that it needs, and that no other rotation is
 * in its way. Writes nothing.
 *
 * @param home - Open home; asks for the passphrases.
 * @throws {@link PublisherError} `CLI_TURN_UNREADY`, `CLI_TURN_PENDING`; KeystoreError `KEY_PASSPHRASE`.
 */
export async function checkIdentityRotation(home: HomeSession, signal?: AbortSignal): Promise<void> {
  await refuseRivals(home.paths, 'identity')
  const pending = await readRotation(home.paths.journals, identityRotation)
  // Which role document it seals does not change whether the event is accepted.
  await checkKeyRotation(releaseIdentity(home), { signal }, pending, { seals: [] })
}

/**
 * The steps that rotate the release identity: the pre-rotated key comes into force, a fresh one takes its place in the
 * file of its own, and the rotation seals the next role document with the new day-to-day keys. What is installed stays:
 * the same manifest bytes are signed again.
 *
 * @param home - Open home, locked.
 * @param options - What is rotated with it.
 */
export function identityRotationSteps(
  home: HomeSession,
  options: IdentityRotationOptions,
): RotationStep<IdentityState>[] {
  const { client, nowMs, signal } = options
  const identity = releaseIdentity(home)
  return [
    { name: 'plan', title: 'work out the rotation', run: () => plan(home, options) },
    { name: 'keys', title: 'make the new day-to-day keys', run: (state) => makeKeys(home, termsIn(state)) },
    { name: 'roles', title: 'write the next role document', run: (state) => writeDocument(home, state) },
    ...keyRotationSteps<IdentityState>(identity, {
      nowMs,
      keepOldKey: options.keepOldKey,
      terms: (state) => ({ seals: [sha256DigestSeal(rolesOf(state))] }),
      collect: async (event) => (await receiptCollector(identity, signal))(event),
    }),
    { name: 'home', title: 'put the new day-to-day keys in force', run: (state) => putInForce(home, state) },
    { name: 'sign', title: 'sign what is published again', run: (state) => signAgain(home, termsIn(state), options) },
    ...(client === undefined
      ? []
      : [
          {
            name: 'publish',
            title: 'publish role document, log, signatures and heads',
            run: (state: IdentityState) => publishSigned(home, client, termsIn(state), nowMs),
          },
        ]),
  ]
}

/** Terms of a rotation that seals a document as it was proposed. */
async function proposed(
  home: HomeSession,
  bytes: Uint8Array,
  inForce: RoleDocument,
): Promise<Pick<IdentityTerms, 'proposal' | 'release' | 'head'>> {
  const document = parseRoles(bytes)
  if (document.version !== inForce.version + 1) {
    throw new PublisherError(
      'CLI_TURN_UNREADY',
      `The proposed role document is number ${document.version}, expected number ${inForce.version + 1}`,
      {
        hint: 'Run "keyturn roles propose" again',
      },
    )
  }
  checkRolesStep(inForce, document)
  return {
    proposal: bytes,
    release: await signingAlias(home, 'release', document.roles.release.keys),
    head: await signingAlias(home, 'head', document.roles.head.keys),
  }
}

async function plan(home: HomeSession, options: IdentityRotationOptions): Promise<Partial<IdentityState>> {
  await checkIdentityRotation(home, options.signal)
  const { identity, aliases } = home.description
  const roles = await rolesInForce(home.paths, identity.prefix)
  const channels: string[] = []
  for (const channel of options.channels ?? (await offeringChannels(home.paths, home.description.channel)))
    if ((await readStoredHead(home.paths, channel)) !== undefined) channels.push(channel)
  const { proposal } = options
  // A key that has ended itself signs nothing that counts, so it is replaced whichever rotation was asked for.
  const killed = await killedKeys(home)
  const hasEnded = (role: 'release' | 'head'): boolean =>
    roles.document.roles[role].keys.some((key) => killed.includes(key))
  const releaseKey = options.releaseKey !== false || hasEnded('release')
  const headKey = options.headKey === true || hasEnded('head')
  const terms: IdentityTerms = {
    atMs: options.nowMs,
    rolesVersion: roles.document.version + 1,
    release: releaseKey ? followingAlias(aliases.release) : aliases.release,
    head: headKey ? followingAlias(aliases.head) : aliases.head,
    releaseKey: proposal === undefined && releaseKey,
    headKey: proposal === undefined && headKey,
    revoke: options.revoke === true,
    lostKeys: options.lostKeys,
    rolesDays: options.rolesDays ?? 365,
    channels,
    proposal: undefined,
    ...(proposal === undefined ? {} : await proposed(home, proposal, roles.document)),
  }
  const documents = (await readRoles(home.paths, identity.prefix)).map((stored) => stored.document)
  if (channels.length > 0) await requireHeldRoles(home, documents, terms)
  return { terms }
}

function termsIn({ terms }: IdentityState): IdentityTerms {
  if (terms === undefined) throw damagedJournal('the rotation "identity"', 'it has no plan')
  return terms
}

/** The role document that a rotation seals. */
function rolesOf({ roles }: IdentityState): Uint8Array {
  if (roles === undefined) throw damagedJournal('the rotation "identity"', 'it has no role document')
  return roles
}

async function makeKeys(home: HomeSession, { release, head }: IdentityTerms): Promise<undefined> {
  const keys = await home.keys()
  await keys.make(release, 'release')
  await keys.make(head, 'head')
  return undefined
}

/** On disk before the log seals it: a log whose role document is missing could not be read. */
async function writeDocument(home: HomeSession, state: IdentityState): Promise<Partial<IdentityState>> {
  const bytes = termsIn(state).proposal ?? (await nextDocument(home, state))
  const { version } = parseRoles(bytes)
  const inForce = await rolesInForce(home.paths, home.description.identity.prefix)
  // A document that the log seals is never written over.
  if (version !== inForce.document.version + 1)
    throw damagedJournal('the rotation "identity"', `it has role document ${version}`)
  await writeFileAtomic(join(home.paths.roles, `${version}.json`), bytes)
  return { roles: bytes }
}

async function nextDocument(home: HomeSession, state: IdentityState): Promise<Uint8Array> {
  const keys = await home.keys()
  const terms = termsIn(state)
  const documents = (await readRoles(home.paths, home.description.identity.prefix)).map((stored) => stored.document)
  const document = documents.at(-1) as RoleDocument
  const isLost = (role: 'release' | 'head'): boolean => terms.lostKeys === true && terms[`${role}Key`] === true
  const next = {
    release: swap(
      document.roles.release.keys,
      await heldKey(home, documents, 'release', isLost('release')),
      await keys.publicKey(terms.release),
    ),
    head: swap(
      document.roles.head.keys,
      await heldKey(home, documents, 'head', isLost('head')),
      await keys.publicKey(terms.head),
    ),
  }
  const staying = new Set([...next.release, ...next.head])
  const leaving = [...document.roles.release.keys, ...document.roles.head.keys].filter((key) => !staying.has(key))
  return writeRoles({
    ...document,
    version: terms.rolesVersion,
    issuedAt: daysFrom(terms.atMs, 0),
    expiresAt: daysFrom(terms.atMs, terms.rolesDays),
    roles: {
      release: { ...document.roles.release, keys: next.release },
      head: { ...document.roles.head, keys: next.head },
    },
    revokedKeys: [
      ...new Set([
        ...document.revokedKeys,
        ...(terms.revoke ? leaving : []),
        ...(state.alsoRevoke ?? []).filter((key) => !staying.has(key)),
      ]),
    ],
  })
}

/** The keys of a role with one replaced; those of other holders stay. */
function swap(keys: readonly string[], old: string, fresh: Uint8Array): string[] {
  return keys.map((key) => (key === old ? hexEncode(fresh) : key))
}

/**
 * The key of this home in a role, which a rotation replaces: its own, also where the role is not its own. Where keys
 * were lost, the one that a rotation on the lost machine put in its place.
 */
async function heldKey(
  home: HomeSession,
  documents: readonly RoleDocument[],
  role: 'release' | 'head',
  lostKeys: boolean,
): Promise<string> {
  const own = hexEncode(await (await home.keys()).publicKey(home.description.aliases[role]))
  const inForce = documents.at(-1)?.roles[role].keys ?? []
  if (!lostKeys || inForce.includes(own)) return own
  const before = documents.findLast((one) => one.roles[role].keys.includes(own))?.roles[role].keys ?? []
  const successor = inForce[before.indexOf(own)]
  const isReplaced = inForce.length === before.length && successor !== undefined && !before.includes(successor)
  return isReplaced ? successor : own
}

/** A home that signs nothing that counts would publish what everybody refuses, after its rotation is in the log. */
async function requireHeldRoles(
  home: HomeSession,
  documents: readonly RoleDocument[],
  { releaseKey, headKey, lostKeys = false }: IdentityTerms,
): Promise<void> {
  const roles = [...(releaseKey === true ? ['release' as const] : []), ...(headKey === true ? ['head' as const] : [])]
  for (const role of roles) {
    const held = await heldKey(home, documents, role, lostKeys)
    if (documents.at(-1)?.roles[role].keys.includes(held) === true) continue
    const found = `The role document in force gives the ${role} role to no key of this home`
    throw new PublisherError('CLI_TURN_UNREADY', found, {
      hint:
        'Nothing was changed. If its keys were made on a machine that is lost, replace them with --lost-keys; else ' +
        'propose another role document: keyturn roles propose',
    })
  }
}

async function putInForce(home: HomeSession, state: IdentityState): Promise<undefined> {
  const { atMs, release, head } = termsIn(state)
  const at = new Date(atMs).toISOString()
  const transportIdentity = await transportAlias(home, parseRoles(rolesOf(state)).transport)
  if (transportIdentity !== home.description.aliases.transportIdentity) await setTransportAside(home)
  await home.update({
    aliases: { ...home.description.aliases, release, head, transportIdentity },
    since: { [release]: at, [head]: at, [transportIdentity]: at, ...home.description.since },
  })
  // A proposal that this rotation sealed waits no longer, whichever command finished it.
  const proposal = await readProposal(home.paths)
  if (proposal !== undefined && equalBytes(proposal.bytes, rolesOf(state))) await dropProposal(home.paths)
  return undefined
}

/**
 * What the rotation that follows one must know when it is to revoke and the one before did not: the keys that left with
 * it, for one of them is the stolen one.
 *
 * @param home - Open home.
 * @param state - Of the finished rotation.
 * @param kinds - Whose keys.
 */
export async function leftBehind(
  home: HomeSession,
  state: IdentityState,
  kinds: { readonly releaseKey: boolean; readonly headKey: boolean },
): Promise<IdentityState> {
  const after = parseRoles(rolesOf(state))
  const before = parseRoles(await readFile(join(home.paths.roles, `${after.version - 1}.json`)))
  const roles = [...(kinds.releaseKey ? ['release' as const] : []), ...(kinds.headKey ? ['head' as const] : [])]
  const staying = new Set([...after.roles.release.keys, ...after.roles.head.keys])
  return {
    alsoRevoke: [...new Set(roles.flatMap((role) => before.roles[role].keys))].filter((key) => !staying.has(key)),
  }
}
