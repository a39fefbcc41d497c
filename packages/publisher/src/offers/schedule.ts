import { rename } from 'node:fs/promises'
import { keyCommitment } from '@keyturn/m2pack-format'
import { formatTime } from '@keyturn/manifest/publish'
import type { Head, ReleaseManifest } from '@keyturn/manifest'
import { hexEncode, printable } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import { keyAlias, nextKeyId, nextSlot } from '../home.ts'
import type { SealedKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { placeInside } from '../inside.ts'
import type { Progress } from '../session.ts'
import { offerOf } from './offer.ts'
import { prepareRelease } from '../release/prepare-release.ts'
import { putOffer, renewOffer } from './put-offer.ts'
import type { PutOffer, PutOfferOptions } from './put-offer.ts'
import { runtimeKeyFile } from '../records/runtime-key-file.ts'
import { sealTree } from './seal-tree.ts'
import { adoptOffered, asContentKey, newestRelease, scheduledOn, sealedKeyOf } from '../records/sealed.ts'
import { checkSignsAlone, pinOf, signRelease } from '../release/sign-release.ts'
import { findRelease, readReleases, replacedBy, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { dueSchedule } from './switch.ts'
import type { DueSchedule } from './switch.ts'
import { requireBase } from '../records/verified-head.ts'

/** Days ahead at most: launchers keep the bytes all that time. */
export const MAX_SCHEDULE_DAYS = 90
/** Sequences that stay free below a scheduled release, for what is released before its time. */
export const SCHEDULE_ROOM = 1000

const DAY_MS = 86_400_000

/** How a release is scheduled. */
export interface ScheduleOptions extends PutOfferOptions {
  /** When it is to be offered, milliseconds since 1970. */
  readonly atMs: number
  /** Accept that what is not in archives, and the notes, can be read before; default false. */
  readonly allowReadable?: boolean | undefined
  readonly progress?: Progress | undefined
}

/** A release that is scheduled. */
export interface ScheduledRelease extends PutOffer {
  readonly release: StoredRelease
  readonly at: string
  readonly keyId: number
  /** It was sealed before: only its date changed. */
  readonly moved: boolean
}

/**
 * Schedules a release that was prepared and never offered: seals it, signs it, and offers it as what launchers may
 * fetch and not install. Scheduling it again changes its date alone.
 *
 * @param home - Open home, locked.
 * @throws {@link PublisherError} `REL_SCHEDULE_TIME`, `REL_SCHEDULED`, `REL_OFFERED`, `REL_NOT_SEALABLE`,
 *   `REL_READABLE`;
 *   those of `requireBase` and `putOffer`.
 */
export async function scheduleRelease(
  home: HomeSession,
  channel: string,
  version: string,
  options: ScheduleOptions,
): Promise<ScheduledRelease> {
  const { head: base } = await requireBase(home, channel, options.client)
  await checkSignsAlone(home, (await rolesInForce(home.paths, home.description.identity.prefix)).document)
  const at = checkSchedule(home, channel, version, { base, ...options })
  await recoverReplaced(home, channel, version)
  const draft = await findRelease(home.paths, channel, version)
  const known = sealedKeyOf(home.description, draft.manifest)
  const release = known === undefined ? await seal(home, draft, { ...options, base }) : draft
  if ((release.manifest.sequence ?? 0) <= base.manifest.sequence) throw wasOffered(release)
  const signed = await signRelease(home, release)
  const key = await setDate(home, release, at)
  const offer = { ...offerOf(base), preload: { ...pinOf(signed), at } }
  const put = await putOffer(home, channel, { ...options, offer, base })
  return { ...put, release: signed, at, keyId: key.keyId, moved: known !== undefined }
}

/** What a schedule is measured against. */
export interface SchedulePlace extends Pick<ScheduleOptions, 'atMs' | 'nowMs'> {
  /** The newest verified head. */
  readonly base: Head | undefined
}

/**
 * Checks, before anything is packed, whether a release can be scheduled.
 *
 * @returns The time as the head has it.
 * @throws {@link PublisherError} `REL_SCHEDULE_TIME`; `REL_SCHEDULED` while another one is; `REL_NO_OFFER` on a channel
 *   that offers nothing yet.
 */
export function checkSchedule(
  { description }: Pick<HomeSession, 'description'>,
  channel: string,
  version: string,
  { base, ...times }: SchedulePlace,
): string {
  const at = checkTime(times)
  if (base === undefined)
    throw new PublisherError('REL_NO_OFFER', `Nothing is offered on channel "${channel}" yet`, {
      hint: 'The first release of a channel cannot be scheduled: ship it without --at',
    })
  const other = base.preload ?? scheduledOn(description, channel)
  if (other !== undefined && other.version !== version) throw alreadyScheduled(channel, other.version, other.at)
  return at
}

/** What {@link cancelSchedule} ended. */
export interface CancelledSchedule extends PutOffer {
  readonly version: string
}

/**
 * Takes a schedule back: launchers drop what they fetched. The release stays sealed in the home, and its key is given
 * to nobody.
 *
 * @throws {@link PublisherError} `REL_NO_SCHEDULE`.
 */
export async function cancelSchedule(
  home: HomeSession,
  channel: string,
  options: PutOfferOptions & { readonly version?: string | undefined },
): Promise<CancelledSchedule> {
  const { head: base } = await requireBase(home, channel, options.client)
  const { preload, ...rest } = offerOf(base)
  const version = preload?.version ?? scheduledOn(home.description, channel)?.version
  if (version === undefined || (options.version !== undefined && options.version !== version))
    throw noSchedule(channel, options.version)
  const put = await putOffer(home, channel, { ...options, offer: rest, base })
  const { sealedKeys = [] } = home.description
  await home.update({
    sealedKeys: sealedKeys.map((key) => (key.channel === channel ? { ...key, at: undefined } : key)),
  })
  return { ...put, version }
}

/**
 * Releases what is scheduled at once. Its date becomes now before its key leaves: no server takes a key before its
 * time.
 *
 * @throws {@link PublisherError} `REL_NO_SCHEDULE`, `REL_HALTED`; `CLI_PATH_UNKNOWN` when its key is in another home.
 */
export async function offerNow(
  home: HomeSession,
  channel: string,
  options: PutOfferOptions & { readonly version?: string | undefined },
): Promise<PutOffer> {
  const { head: base } = await requireBase(home, channel, options.client)
  const { preload } = base
  if (preload === undefined || (options.version !== undefined && options.version !== preload.version))
    throw noSchedule(channel, options.version)
  if (base.rollout?.paused === true)
    throw new PublisherError('REL_HALTED', `Channel "${channel}" is halted at release ${base.manifest.version}`, {
      hint: 'Run "keyturn release rollout --resume" first: a halt is ended by a person',
    })
  const release = await findRelease(home.paths, channel, preload.version)
  if (options.nowMs < Date.parse(preload.at)) {
    const at = formatTime(options.nowMs)
    if (sealedKeyOf(home.description, release.manifest) !== undefined) await setDate(home, release, at)
    await putOffer(home, channel, { ...options, offer: { ...offerOf(base), preload: { ...preload, at } }, base })
  }
  return await renewOffer(home, channel, options)
}

/**
 * Opens the scheduled release of a channel if its hour has come, and does nothing else: what is not due costs no head.
 *
 * @returns What became of it; `switch`: it is offered now.
 * @throws {@link PublisherError} those of `renewOffer`.
 */
export async function openDue(
  home: HomeSession,
  channel: string,
  options: PutOfferOptions,
): Promise<DueSchedule['state']> {
  const { head: base } = await requireBase(home, channel, options.client)
  if (await adoptOffered(home, base)) return 'none'
  const { state } = await dueSchedule(home, base, options.nowMs)
  return state === 'switch' ? (await renewOffer(home, channel, options)).scheduled : state
}

/** What can be read of a scheduled release before its time: bytes of files, or names. */
export interface ReadableBefore {
  /** Files outside archives that are new or changed. */
  readonly files: readonly string[]
  /** Archives whose name is new. */
  readonly archives: readonly string[]
  readonly notes: boolean
}

/** Finds what the encryption of archives does not cover. */
export function readableBefore(
  before: Pick<ReleaseManifest, 'files'> | undefined,
  after: Pick<ReleaseManifest, 'files' | 'notes'>,
): ReadableBefore {
  const known = new Map(before?.files.map(({ path, sha256 }) => [path, sha256]))
  return {
    files: after.files.flatMap(({ path, sha256, keyId }) =>
      keyId === undefined && path !== runtimeKeyFile && known.get(path) !== sha256 ? [path] : [],
    ),
    archives: after.files.flatMap(({ path, keyId }) => (keyId !== undefined && !known.has(path) ? [path] : [])),
    notes: (after.notes ?? '') !== '',
  }
}

function checkTime({ atMs, nowMs }: Pick<ScheduleOptions, 'atMs' | 'nowMs'>): string {
  if (atMs > nowMs && atMs <= nowMs + MAX_SCHEDULE_DAYS * DAY_MS) return formatTime(atMs)
  throw new PublisherError(
    'REL_SCHEDULE_TIME',
    `Cannot schedule for ${formatTime(atMs)}: expected a time after ${formatTime(nowMs)}, at most ` +
      `${MAX_SCHEDULE_DAYS} days ahead`,
    { hint: 'Give --at in UTC, like 2026-12-04T18:00Z, or --now' },
  )
}

function noSchedule(channel: string, version: string | undefined): PublisherError {
  const named = version === undefined ? '' : ` called ${printable(version)}`
  return new PublisherError('REL_NO_SCHEDULE', `Nothing${named} is scheduled on channel "${channel}"`, {
    hint: 'Run "keyturn release schedule --list"',
  })
}

function alreadyScheduled(channel: string, version: string, at: string | undefined): PublisherError {
  return new PublisherError(
    'REL_SCHEDULED',
    `Release ${printable(version)} is scheduled on channel "${channel}"${at === undefined ? '' : ` for ${at}`} already`,
    { details: { version }, hint: 'Run "keyturn release schedule --cancel" first; one channel has one schedule' },
  )
}

function wasOffered({ manifest }: StoredRelease): PublisherError {
  return new PublisherError(
    'REL_OFFERED',
    `Release ${manifest.version} on channel "${manifest.channel ?? ''}" was offered, or is older than what is offered`,
    { hint: 'Players may have it: schedule a release that was never offered' },
  )
}

/** An interrupted command may have left a version without its release; the draft is beside it then. */
async function recoverReplaced({ paths }: HomeSession, channel: string, version: string): Promise<void> {
  const folder = placeInside(paths.releases, channel, version)
  if (!(await pathExists(folder)) && (await pathExists(replacedBy(folder)))) await rename(replacedBy(folder), folder)
}

type SealOptions = ScheduleOptions & { readonly base: Head }

async function seal(home: HomeSession, draft: StoredRelease, options: SealOptions): Promise<StoredRelease> {
  const { base, nowMs, signal } = options
  const { manifest } = draft
  const channel = base.channel
  if ((manifest.sequence ?? 0) <= base.manifest.sequence) throw wasOffered(draft)
  if (!manifest.files.some(({ keyId }) => keyId !== undefined))
    throw new PublisherError(
      'REL_NOT_SEALABLE',
      `Release ${manifest.version} has no archives: nothing of it can be sealed`,
      {
        hint: 'Only releases of format m2pack can be scheduled',
      },
    )
  const offered = (await readReleases(home.paths, channel)).find(({ sha256 }) => sha256 === base.manifest.sha256)
  refuseReadable(draft, readableBefore(offered?.manifest, manifest), options.allowReadable)
  const key = await makeSealedKey(home, draft, nowMs)
  const tree = sealedTree(home, channel, manifest.version)
  const cuts = await sealTree(home, {
    from: draft.tree,
    offered: offered !== undefined && (await pathExists(offered.tree)) ? offered.tree : undefined,
    to: tree,
    key,
    signal,
  })
  const { version } = manifest
  return await prepareRelease(home, {
    tree,
    channel,
    version,
    like: manifest,
    sealed: { key: asContentKey(key), sequence: await scheduledSequence(home, draft), replaces: version, cuts },
    nowMs,
    signal,
  })
}

/**
 * Refuses a schedule that hides less than its publisher thinks.
 *
 * @throws {@link PublisherError} `REL_READABLE`.
 */
export function refuseReadable(
  { manifest }: Pick<StoredRelease, 'manifest'>,
  { files, archives, notes }: ReadableBefore,
  allowReadable = false,
): void {
  if (allowReadable || (files.length === 0 && archives.length === 0 && !notes)) return
  const parts = [
    ...(files.length > 0 ? [`the bytes of ${listed(files)}`] : []),
    ...(archives.length > 0 ? [`the name of ${listed(archives)}`] : []),
    ...(notes ? ['the notes'] : []),
  ]
  throw new PublisherError(
    'REL_READABLE',
    `Anyone could read ${parts.join(', ')} of release ${manifest.version} before its time`,
    {
      details: { files: files.map((path) => printable(path)).join(', '), notes: notes ? 1 : 0 },
      hint: 'Put them into archives that exist already, leave the notes out, or accept it with --allow-readable',
    },
  )
}

const SHOWN = 5

function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, SHOWN).map((path) => `"${printable(path, 120)}"`)
  return `${shown.join(', ')}${paths.length > SHOWN ? ` and ${paths.length - SHOWN} more` : ''}`
}

/** A key that no file of another release is under. An interrupted call goes on with the numbers it began with. */
async function makeSealedKey(home: HomeSession, { manifest }: StoredRelease, nowMs: number): Promise<SealedKey> {
  const { description } = home
  const { sealedKeys = [] } = description
  const { version, channel = description.channel } = manifest
  const begun = sealedKeys.find((key) => key.channel === channel && key.version === version)
  const keyId = begun?.keyId ?? nextKeyId(description)
  const slot = begun?.slot ?? nextSlot(description)
  const keys = await home.keys()
  await keys.make(keyAlias.content(keyId), 'content')
  await keys.make(keyAlias.slot(slot), 'slot')
  if (begun !== undefined) return begun
  const commitment = await keys.lend(keyAlias.content(keyId), (key) => keyCommitment({ keyId, key }))
  const verifier = await keys.publicKey(description.aliases.archiveSigning)
  const made: SealedKey = {
    keyId,
    slot,
    verifierPub: hexEncode(verifier),
    commitment: hexEncode(commitment),
    created: new Date(nowMs).toISOString(),
    channel,
    version,
  }
  await home.update({ sealedKeys: [...sealedKeys, made] })
  return made
}

/** Above everything of the channel, with room for what comes before its time. */
async function scheduledSequence(home: HomeSession, { manifest }: StoredRelease): Promise<number> {
  const { channel = home.description.channel, version } = manifest
  const newest = (await newestRelease(home, channel, version))?.manifest.sequence ?? 0
  const sealed = (await readReleases(home.paths, channel)).flatMap((release) =>
    sealedKeyOf(home.description, release.manifest) === undefined ? [] : [release.manifest.sequence ?? 0],
  )
  return Math.max(newest + SCHEDULE_ROOM, ...sealed.map((sequence) => sequence + 1))
}

async function setDate(home: HomeSession, { manifest }: StoredRelease, at: string): Promise<SealedKey> {
  const sealed = sealedKeyOf(home.description, manifest)
  if (sealed === undefined) throw new TypeError(`Release ${manifest.version} is not sealed`)
  const dated = { ...sealed, at }
  const { sealedKeys = [] } = home.description
  await home.update({ sealedKeys: sealedKeys.map((key) => (key.keyId === sealed.keyId ? dated : key)) })
  return dated
}

/** Folder of the tree of a sealed release. */
export function sealedTree(home: Pick<HomeSession, 'paths'>, channel: string, version: string): string {
  return placeInside(home.paths.trees, channel, `.sealed-${version}`)
}
