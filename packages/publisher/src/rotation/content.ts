import { keyCommitment } from '@keyturn/m2pack-format'
import { nextVersion } from '@keyturn/manifest/publish'
import type { Head } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { join } from 'node:path'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import { activeContentKey, followingAlias, keyAlias, nextKeyId, nextSlot } from '../home.ts'
import type { HomeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { placeInside, removeInside } from '../inside.ts'
import { rotatedBytes } from '../tree/archive-facts.ts'
import { readPublishedHead, readStoredHead } from '../records/heads.ts'
import type { StoredHead } from '../records/heads.ts'
import { checkContentKeys } from '../offers/catch-up.ts'
import { offeredToAll } from '../offers/offer.ts'
import { prepareRelease } from '../release/prepare-release.ts'
import { publishRelease } from '../release/publish-release.ts'
import { rotateTree } from '../tree/rotate-tree.ts'
import { runtimeKeyFile, writeRuntimeKeyFile } from '../records/runtime-key-file.ts'
import { issueHead, signRelease } from '../release/sign-release.ts'
import { newestRelease } from '../records/sealed.ts'
import { findRelease, readReleases, takenVersions } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { treeAtHand } from '../server/tree-at-hand.ts'
import type { ContentState, ContentTerms } from './content-state.ts'
import { damagedJournal } from './facts.ts'
import type { RotationStep } from './journal.ts'

/** How the content key is rotated. */
export interface ContentRotationOptions {
  readonly channel: string
  /** The server to publish to; without it the new release waits in the home. */
  readonly client?: ReleaseServerClient | undefined
  /** Encrypt every payload again, for a content key that was stolen: players download every archive. */
  readonly full?: boolean | undefined
  /** Rotate the archive signing key with it: clients need the new verifier (`pack export-client-config`). */
  readonly signingKey?: boolean | undefined
  readonly nowMs: number
  readonly signal: AbortSignal
  /** Called with what deserves a look and does not stop the rotation. */
  readonly warn?: ((text: string) => void) | undefined
}

/** What a rotation of the content key will do, before anything is done. */
export interface ContentRotationPlan {
  readonly from: number
  readonly to: number
  readonly slot: number
  /** Release whose archives are rewrapped; undefined when there is none yet. */
  readonly release: StoredRelease | undefined
  readonly nextVersion: string | undefined
  /** Every payload is encrypted again. */
  readonly full: boolean
  /** Alias of the archive signing key from then on; undefined when it stays. */
  readonly signing: string | undefined
  /**
   * What a player who has that release downloads at most: header, slots and index of each archive; small ones whole.
   */
  readonly downloadBytesAtMost: number
}

const CHUNK_BYTES_AT_MOST = 2 * 256 * 1024

/**
 * Works out a rotation of the content key.
 *
 * @param home - Open home.
 * @param options - Channel and time.
 * @param pending - State of a rotation that was interrupted: it goes on with the numbers it began with.
 * @throws {@link PublisherError} `CLI_TURN_JOURNAL` when those numbers do not fit the home.
 */
export async function planContentRotation(
  home: HomeSession,
  options: ContentRotationOptions,
  pending?: ContentState,
): Promise<ContentRotationPlan> {
  const terms = pending?.terms
  if (terms !== undefined) return await planFromTerms(home, terms)
  const full = options.full === true
  const release = await releaseInForce(home, options.channel, full)
  // A key that was rotated elsewhere is missed before its number is used a second time.
  if (release !== undefined) checkContentKeys(home, release)
  return {
    full,
    signing: options.signingKey === true ? followingAlias(home.description.aliases.archiveSigning) : undefined,
    from: activeContentKey(home.description).keyId,
    to: nextKeyId(home.description),
    slot: nextSlot(home.description),
    release,
    nextVersion: release === undefined ? undefined : nextVersion(options.nowMs, await takenVersions(home.paths)),
    downloadBytesAtMost: release === undefined ? 0 : await downloadBytes(release, full),
  }
}

/**
 * The release whose archives are rewrapped: what the channel offers, never one that was only prepared or signed. A halt
 * is not ended by the way, unless the key was stolen: then everybody gets what they may have now.
 *
 * @throws {@link PublisherError} `REL_HALTED`.
 */
async function releaseInForce(home: HomeSession, channel: string, full: boolean): Promise<StoredRelease | undefined> {
  const head = await headInForce(home, channel)
  if (head === undefined) return await newestRelease(home, channel)
  if (head.rollout?.paused !== true) return await findRelease(home.paths, channel, head.manifest.version)
  if (full) return await findRelease(home.paths, channel, offeredToAll(head).version)
  throw new PublisherError('REL_HALTED', `Channel "${channel}" is halted at release ${head.manifest.version}`, {
    hint:
      'Run "keyturn release rollback VERSION", or "keyturn release rollout --resume", first; for a stolen key ' +
      'give --full',
  })
}

async function headInForce({ paths }: HomeSession, channel: string): Promise<Head | undefined> {
  return ((await readPublishedHead(paths, channel)) ?? (await readStoredHead(paths, channel)))?.head
}

/** Offers the rotated release as the one before it was offered: a rollout goes on with its share and salt. */
async function offerRotated(home: HomeSession, release: StoredRelease, nowMs: number): Promise<StoredHead> {
  const channel = release.manifest.channel ?? home.description.channel
  const before = await headInForce(home, channel)
  const runs = before?.rollout !== undefined && !before.rollout.paused && before.fallback !== undefined
  if (!runs) return await issueHead(home, release, { nowMs })
  const fallback = await findRelease(home.paths, channel, before.fallback.version)
  return await issueHead(home, release, { nowMs, fallback, rollout: before.rollout })
}

async function planFromTerms(home: HomeSession, terms: ContentTerms): Promise<ContentRotationPlan> {
  checkTerms(home, terms)
  const { from, to, slot, full, signing } = terms
  const release =
    terms.release === undefined ? undefined : await findRelease(home.paths, terms.channel, terms.release.base)
  const downloadBytesAtMost = release === undefined ? 0 : await downloadBytes(release, full)
  return { from, to, slot, full, signing, release, nextVersion: terms.release?.version, downloadBytesAtMost }
}

/** The numbers of a journal are those that this rotation began with, or it is not one of this home. */
function checkTerms({ description: { contentKeys, slots } }: HomeSession, { from, to, slot }: ContentTerms): void {
  const others = contentKeys.filter(({ keyId }) => keyId !== to)
  const isNext = others.every(({ keyId }) => keyId < to) && others.some(({ keyId }) => keyId === from)
  if (!isNext || slots.some((known) => known > slot))
    throw damagedJournal('the rotation "content"', `content key ${from} to ${to} does not fit this home`)
}

async function downloadBytes({ manifest, tree }: StoredRelease, full: boolean): Promise<number> {
  let sum = 0
  for (const { path, size, keyId, index } of manifest.files) {
    if (keyId === undefined) continue
    if (full) {
      // Other bytes throughout; the same amount but for padding.
      sum += size + (index?.size ?? 0)
      continue
    }
    const file = join(tree, path)
    const rotated =
      index !== undefined && (await pathExists(file)) ? await rotatedBytes(file, size) : CHUNK_BYTES_AT_MOST
    sum += index === undefined ? size : Math.min(size, rotated + index.size)
  }
  return sum
}

/** What the steps of one rotation share. */
interface Work {
  readonly home: HomeSession
  readonly options: ContentRotationOptions
}

/**
 * The steps that rotate the content key: a new key and slot, every archive of the current release rewrapped (payloads
 * stay), a new release signed and published. Anyone who had the old key still opens what they have; what is new is
 * closed to them.
 *
 * @param home - Open home, locked.
 * @param plan - From {@link planContentRotation}, which was given the state of an interrupted rotation.
 * @param options - Channel, server, time.
 */
export function contentRotationSteps(
  home: HomeSession,
  plan: ContentRotationPlan,
  options: ContentRotationOptions,
): RotationStep<ContentState>[] {
  const work = { home, options }
  const keySteps: RotationStep<ContentState>[] = [
    {
      name: 'plan',
      title: `rotate content key ${plan.from} to ${plan.to}`,
      run: async () => ({ terms: termsOf(plan, options) }),
    },
    {
      name: 'key',
      title:
        `make content key ${plan.to} and slot ${plan.slot}` +
        (plan.signing === undefined ? '' : ', and an archive signing key'),
      run: (state) => makeKey(home, termsIn(state)),
    },
    { name: 'home', title: 'put the new key in force', run: (state) => putInForce(home, state) },
  ]
  return plan.release === undefined ? keySteps : [...keySteps, ...releaseSteps(work, plan)]
}

function releaseSteps(work: Work, { full }: ContentRotationPlan): RotationStep<ContentState>[] {
  const { home, options } = work
  return [
    {
      name: 'archives',
      title: full ? 'encrypt every archive again' : 'rewrap the archives',
      run: (state) => rotateArchives(work, state),
    },
    { name: 'manifest', title: 'make the manifest', run: (state) => describe(work, state) },
    {
      name: 'sign',
      title: 'sign the manifest',
      run: async (state) => {
        await signRelease(home, await rotatedRelease(home, state))
        return undefined
      },
    },
    {
      name: 'head',
      title: 'sign the head',
      run: async (state) => {
        await offerRotated(home, await rotatedRelease(home, state), options.nowMs)
        return undefined
      },
    },
    ...(options.client === undefined ? [] : [publishStep(work, options.client)]),
  ]
}

function publishStep({ home, options }: Work, client: ReleaseServerClient): RotationStep<ContentState> {
  return {
    name: 'publish',
    title: 'publish',
    async run(state) {
      const release = await rotatedRelease(home, state)
      const head = await offerRotated(home, release, options.nowMs)
      const report = await publishRelease(home, client, { release, head }, { signal: options.signal })
      const problem = report.runtimeKeys?.problem
      if (problem !== undefined)
        options.warn?.(
          `The server does not deliver the new runtime key: ${problem}. Once that is fixed, ` +
            `run "keyturn release publish --channel ${head.head.channel}"`,
        )
      return { uploadedBytes: report.bytes }
    },
  }
}

function termsOf(plan: ContentRotationPlan, { channel, nowMs }: ContentRotationOptions): ContentTerms {
  const { from, to, slot, full, signing, release, nextVersion: version } = plan
  return {
    from,
    to,
    slot,
    atMs: nowMs,
    channel,
    full,
    signing,
    release: release === undefined || version === undefined ? undefined : { base: release.manifest.version, version },
  }
}

function termsIn({ terms }: ContentState): ContentTerms {
  if (terms === undefined) throw damagedJournal('the rotation "content"', 'it has no plan')
  return terms
}

function releaseIn(state: ContentState): { readonly channel: string; readonly base: string; readonly version: string } {
  const { channel, release } = termsIn(state)
  if (release === undefined) throw damagedJournal('the rotation "content"', 'it names no release')
  return { channel, ...release }
}

async function makeKey(home: HomeSession, { to: keyId, slot, signing }: ContentTerms): Promise<Partial<ContentState>> {
  const keys = await home.keys()
  await keys.make(keyAlias.content(keyId), 'content')
  await keys.make(keyAlias.slot(slot), 'slot')
  const commitment = await keys.lend(keyAlias.content(keyId), (key) => keyCommitment({ keyId, key }))
  const verifier =
    signing === undefined
      ? await keys.publicKey(home.description.aliases.archiveSigning)
      : await keys.makeSigning(signing, 'archive-signing')
  return { key: { commitment: hexEncode(commitment), verifier: hexEncode(verifier) } }
}

async function putInForce(home: HomeSession, state: ContentState): Promise<undefined> {
  const { to: keyId, slot, atMs, signing } = termsIn(state)
  if (state.key === undefined) throw damagedJournal('the rotation "content"', 'it has no key')
  const { contentKeys, slots, aliases, since } = home.description
  if (contentKeys.some((key) => key.keyId === keyId)) return undefined
  const fresh: HomeContentKey = {
    keyId,
    verifierPub: state.key.verifier,
    commitment: state.key.commitment,
    status: 'active',
    created: new Date(atMs).toISOString(),
  }
  const older = contentKeys.map((key): HomeContentKey =>
    key.status === 'active' ? { ...key, status: 'retired' } : key,
  )
  await home.update({
    contentKeys: [...older, fresh],
    slots: [...slots, slot],
    ...(signing === undefined
      ? {}
      : { aliases: { ...aliases, archiveSigning: signing }, since: { [signing]: fresh.created, ...since } }),
  })
  return undefined
}

async function rotateArchives({ home, options }: Work, state: ContentState): Promise<Partial<ContentState>> {
  const { channel, base, version } = releaseIn(state)
  const { to: keyId, slot, full } = termsIn(state)
  const from = await findRelease(home.paths, channel, base)
  const tree = placeInside(home.paths.trees, channel, version)
  // Files of an interrupted attempt are made again: they are cheap, and half of them may be missing.
  await removeInside(home.paths.trees, channel, version)
  const source = await treeAtHand(home, from, options.client, options.signal)
  const { archives, bytes } = await rotateTree(home, source, tree, { keyId, slot, full, signal: options.signal })
  if (await pathExists(join(source, runtimeKeyFile)))
    await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
  return { archives: { count: archives, bytes } }
}

async function describe({ home, options }: Work, state: ContentState): Promise<undefined> {
  const { channel, base, version } = releaseIn(state)
  if ((await readReleases(home.paths, channel)).some(({ manifest }) => manifest.version === version)) return undefined
  const like = (await findRelease(home.paths, channel, base)).manifest
  const { notes, minLauncherVersion, format } = like
  await prepareRelease(home, {
    tree: placeInside(home.paths.trees, channel, version),
    channel,
    version,
    notes,
    minLauncherVersion,
    format,
    like,
    nowMs: termsIn(state).atMs,
    signal: options.signal,
  })
  return undefined
}

async function rotatedRelease(home: HomeSession, state: ContentState): Promise<StoredRelease> {
  const { channel, version } = releaseIn(state)
  return await findRelease(home.paths, channel, version)
}
