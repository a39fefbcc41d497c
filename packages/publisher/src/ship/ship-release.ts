import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { diffManifests } from '@keyturn/manifest'
import { formatTime } from '@keyturn/manifest/publish'
import type { Head } from '@keyturn/manifest'
import { hexEncode, KeyturnError, systemRandom } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import { activeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { removeInside } from '../inside.ts'
import { checkChannelName } from '../names.ts'
import { formatVersionAfter, packTree } from '../tree/archives.ts'
import { catchUp } from '../offers/catch-up.ts'
import { deltaBytes } from '../records/delta-bytes.ts'
import { discardRelease } from '../records/discard.ts'
import { earlierTree } from '../server/earlier-tree.ts'
import { dropWaitingHead, readWaitingHead } from '../records/heads.ts'
import { offerRelease } from '../offers/offer.ts'
import { prepareRelease } from '../release/prepare-release.ts'
import { checkProjectHome, projectTerms } from '../project/project-terms.ts'
import { planProject } from '../project/project-plan.ts'
import type { ProjectPlan } from '../project/project-plan.ts'
import type { Project } from '../project/project.ts'
import type { PublishReport } from '../release/publish-release.ts'
import { putOffer } from '../offers/put-offer.ts'
import { checkSchedule, readableBefore, refuseReadable, scheduleRelease } from '../offers/schedule.ts'
import type { ReadableBefore } from '../offers/schedule.ts'
import { writeRuntimeKeyFile } from '../records/runtime-key-file.ts'
import { openClient } from '../server/server.ts'
import type { ServerOptions } from '../server/server.ts'
import { pinOf, signRelease } from '../release/sign-release.ts'
import { newestRelease } from '../records/sealed.ts'
import { readReleases } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import type { Progress, PublisherHost } from '../session.ts'
import { openToRelease } from './open-to-release.ts'
import { contentOf, isUnchanged } from './same-build.ts'
import { carriesKeyFile, nameRelease, releaseOf, shareOf } from './what-is-there.ts'

const DEFAULT_LEVEL = 12
const SALT_BYTES = 16

/** What takes time while a release is shipped. */
export type ShipWork = 'packing' | 'hashing' | 'sealing' | 'uploading'

/** What is shipped, and to whom. */
export interface ShipPlan extends ServerOptions {
  /** From `readProject` or `findProject`. */
  readonly project: Project
  /** Default: the channel of the home. */
  readonly channel?: string | undefined
  /** Default: what the project says, else the day with the next number. */
  readonly version?: string | undefined
  /** Offer it to this share of installs only; 100 ends a rollout. Default: as now, else everyone. */
  readonly percent?: number | undefined
  /** End a halt of the channel. */
  readonly resume?: boolean | undefined
  /** Markdown for players; default: the notes file of the project. */
  readonly notes?: string | undefined
  /** zstd level, 1 to 22; default 12. */
  readonly level?: number | undefined
  /** Read every source file, also where it looks as it did when it was packed last; default false. */
  readonly noCache?: boolean | undefined
  /** Whether players get the runtime key in a file of the release; default: as the release before, else they do. */
  readonly runtimeKeyFile?: boolean | undefined
  /** Schedule it for this time instead, milliseconds since 1970: players fetch it now, and open it then. */
  readonly atMs?: number | undefined
  /** With `atMs`: accept that what is not in archives, and the notes, can be read before; default false. */
  readonly allowReadable?: boolean | undefined
  /**
   * Asked once, when all is known and nothing is signed; not asked in a dry run. Throw to stop, or answer `false` to
   * stop
   * without an error: nothing is left behind.
   */
  confirm(summary: ShipSummary): Promise<boolean | undefined>
  /** Watches one piece of work. */
  progress?(work: ShipWork): Progress
}

/** What would change for players, and what they would download. */
export interface ShipSummary {
  readonly channel: string
  readonly version: string
  /** Version of the release before; undefined for the first of a channel. */
  readonly previous: string | undefined
  readonly format: string
  /** The content key. */
  readonly keyId: number
  /** Numbers of files. */
  readonly added: number
  readonly changed: number
  readonly removed: number
  /** Bytes that a player who has the release before downloads. */
  readonly downloadBytes: number
  /** Bytes of a first install. */
  readonly fullBytes: number
  /** Share of installs that get it, 0 to 100. */
  readonly percent: number
  /**
   * Players would get what they have: files, rules and notes are those of the release that everybody is offered now.
   */
  readonly unchanged: boolean
  /** Of a release that is scheduled. */
  readonly scheduled: PlannedSchedule | undefined
}

/** When a release opens, and what of it can be read before. */
export interface PlannedSchedule {
  /** `YYYY-MM-DDTHH:MM:SSZ`. */
  readonly at: string
  readonly readable: ReadableBefore
}

/** A release that was shipped, or in a dry run would be. */
export interface Shipped extends ShipSummary {
  /** Sequence of the published head; undefined in a dry run, and when `confirm` stopped it. */
  readonly headSequence: number | undefined
  /** What was sent; undefined likewise. */
  readonly report: PublishReport | undefined
}

interface Shipment {
  readonly home: HomeSession
  readonly client: ReleaseServerClient
  readonly channel: string
  readonly version: string
  /** The newest release of the channel. */
  readonly before: StoredRelease | undefined
  readonly notes: string | undefined
  /** The highest sequence that the server published. */
  readonly after: number
  /** What the release will be made of. */
  readonly made: ProjectPlan
}

/**
 * Takes a source tree to players in one call: packs, prepares, signs, offers and publishes it. All that could be
 * refused is checked before anything is signed, and what fails or is refused leaves no draft behind.
 *
 * @param host - The program; with `dryRun` the release is made, measured and discarded.
 * @param plan - What is shipped.
 * @throws {@link PublisherError} `CLI_USAGE` for a project of another product or server; `CLI_EXISTS` in a dry run over
 *   a draft; those of `openToRelease`, `planProject`, `packTree`, `prepareRelease`, `offerRelease` and `publishHead`.
 *   ManifestError `MAN_VERSION`.
 */
export async function shipRelease(host: PublisherHost, plan: ShipPlan): Promise<Shipped> {
  const { project, percent, resume } = plan
  const home = await openToRelease(host, { write: true })
  checkProjectHome(project, home.description, plan.server)
  const channel = checkChannelName(plan.channel ?? home.description.channel)
  const client = await openClient(plan, home)
  const { base, server, refused } = await catchUp(home, channel, client)
  const offered = base?.head
  const { version, after } = await nameRelease(host, plan, { home, channel, client, offered })
  const notes = plan.notes ?? (project.notes === undefined ? undefined : await readFile(project.notes, 'utf8'))
  if (plan.atMs !== undefined)
    checkSchedule(home, channel, version, { base: base?.head, atMs: plan.atMs, nowMs: host.clock() })
  const made = await planned(host, project)
  const terms = { home, client, channel, version, notes, made, after }
  if (offered?.manifest.version === version)
    return await shippedBefore(host, plan, { ...terms, before: undefined }, offered)
  await makeRoom(host, home, version, { channel, offered })
  const before = await newestRelease(home, channel)
  const shipment: Shipment = { ...terms, before }
  const draft = await makeDraft(host, plan, shipment)
  try {
    const salt = hexEncode(systemRandom(SALT_BYTES))
    const offer = offerRelease(base?.head, pinOf(draft), { percent, resume, salt })
    const summary = {
      ...(await summaryOf(shipment, draft)),
      percent: shareOf(base?.head, percent),
      unchanged: isUnchanged(plan, { offered: base?.head, before, draft: draft.manifest }),
      scheduled: await plannedSchedule(plan, shipment, { base: base?.head, draft }),
    }
    if (!host.dryRun && summary.scheduled !== undefined)
      refuseReadable(draft, summary.scheduled.readable, plan.allowReadable)
    if (host.dryRun || (await plan.confirm(summary)) === false) {
      await discardRelease(home, channel, version)
      return { ...summary, headSequence: undefined, report: undefined }
    }
    if (plan.atMs !== undefined) return { ...summary, ...(await schedule(host, plan, shipment, plan.atMs)) }
    const release = await signRelease(home, draft)
    const { head, report } = await watched(plan, 'uploading', (progress) =>
      putOffer(home, channel, {
        offer: { ...offer, manifest: pinOf(release) },
        base: base?.head,
        client,
        // A head that the server shows and we do not count does not stop ours.
        ifHeadSequence: refused === undefined ? (server?.head.sequence ?? 0) : undefined,
        replacesDrafts: true,
        nowMs: host.clock(),
        signal: host.signal,
        progress,
      }),
    )
    return { ...summary, headSequence: head.head.sequence, report }
  } catch (error) {
    if (error instanceof KeyturnError && OVERTAKEN.has(error.code)) await dropWaitingHead(home.paths, channel)
    await discardRelease(home, channel, version).catch(() => undefined) // it was offered, or is needed: then it stays
    throw error
  }
}

/** Said of a head that nobody will ever see, since somebody else was first. */
const OVERTAKEN = new Set(['PUB_STALE', 'PUB_TAKEN'])

async function planned(host: PublisherHost, project: Project): Promise<ProjectPlan> {
  const plan = await planProject(project)
  for (const warning of plan.warnings) host.warn(warning)
  return plan
}

/**
 * Compares a build with the release that the channel offers under its name. An interrupted call that is repeated ends
 * here if the server had accepted its head: then nothing is left to do.
 *
 * @throws PublisherError `REL_OFFERED` for another build.
 */
async function shippedBefore(host: PublisherHost, plan: ShipPlan, named: Shipment, offered: Head): Promise<Shipped> {
  const { home, channel, version } = named
  const before = await releaseOf(home, offered)
  // Its files stay: the build is made under a name that nobody else gives.
  const shipment = { ...named, before, version: `${version.slice(0, 50)}.repeated` }
  if ((await readReleases(home.paths, channel)).some(({ manifest }) => manifest.version === shipment.version))
    await discardRelease(home, channel, shipment.version)
  const draft = await makeDraft(host, plan, shipment)
  try {
    const isSame = before !== undefined && contentOf(before.manifest) === contentOf(draft.manifest)
    const share = shareOf(offered, undefined)
    const wantsMore = plan.resume === true && offered.rollout?.paused === true
    if (!isSame || wantsMore || plan.atMs !== undefined || (plan.percent ?? share) !== share)
      throw new PublisherError('REL_OFFERED', `Channel "${channel}" offers a release named ${version} already`, {
        hint: isSame
          ? 'It is this build: "keyturn release rollout" changes who gets it'
          : 'It is another build: give this one another --version-name',
      })
    const summary = { ...(await summaryOf(shipment, draft)), version, percent: share }
    return { ...summary, unchanged: true, scheduled: undefined, headSequence: undefined, report: undefined }
  } finally {
    await discardRelease(home, channel, shipment.version)
  }
}

/** Seals and schedules the draft instead of offering it. */
async function schedule(
  { clock, signal }: PublisherHost,
  plan: ShipPlan,
  { home, channel, version, client }: Shipment,
  atMs: number,
): Promise<Pick<Shipped, 'headSequence' | 'report'>> {
  const { allowReadable } = plan
  const { head, report } = await watched(plan, 'sealing', (progress) =>
    scheduleRelease(home, channel, version, {
      client,
      atMs,
      allowReadable,
      replacesDrafts: true,
      nowMs: clock(),
      signal,
      progress,
    }),
  )
  return { headSequence: head.head.sequence, report }
}

/** Runs one piece of work under its watcher. */
async function watched<T>(
  plan: ShipPlan,
  work: ShipWork,
  run: (progress: Progress | undefined) => Promise<T>,
): Promise<T> {
  const progress = plan.progress?.(work)
  try {
    return await run(progress)
  } finally {
    progress?.end()
  }
}

/**
 * A repeated call starts over: what an interrupted one left was never offered. A release that players may have keeps
 * its name and its files, and a dry run replaces nothing.
 *
 * @throws PublisherError `REL_SCHEDULED`; `CLI_EXISTS` in a dry run.
 */
async function makeRoom(
  host: PublisherHost,
  home: HomeSession,
  version: string,
  { channel, offered }: { readonly channel: string; readonly offered: Head | undefined },
): Promise<void> {
  if (offered?.preload?.version === version)
    throw new PublisherError(
      'REL_SCHEDULED',
      `Release ${version} is scheduled on channel "${channel}" for ${offered.preload.at} already`,
      {
        hint:
          'If it is this build, nothing is left to do. "keyturn release schedule" changes its date; for another ' +
          'build run "keyturn release schedule --cancel" first',
      },
    )
  const releases = await readReleases(home.paths, channel)
  if (!releases.some(({ manifest }) => manifest.version === version)) return
  if (host.dryRun)
    throw new PublisherError('CLI_EXISTS', `Release ${version} is already on channel "${channel}"`, {
      hint: 'Give another --version-name; a dry run replaces nothing',
    })
  const waiting = await readWaitingHead(home.paths, channel)
  const isSealed = waiting?.head.preload?.version === version && offered?.preload?.version !== version
  const isOvertaken = offered !== undefined && waiting !== undefined && waiting.head.sequence <= offered.sequence
  if (isOvertaken || isSealed || waiting?.head.manifest.version === version) await dropWaitingHead(home.paths, channel)
  await discardRelease(home, channel, version)
}

/** What the encryption of archives will not cover until the hour, beside what everybody is offered now. */
async function plannedSchedule(
  { atMs }: ShipPlan,
  { home }: Shipment,
  { base, draft }: { readonly base: Head | undefined; readonly draft: StoredRelease },
): Promise<PlannedSchedule | undefined> {
  if (atMs === undefined) return undefined
  const offered = await releaseOf(home, base)
  return { at: formatTime(atMs), readable: readableBefore(offered?.manifest, draft.manifest) }
}

async function makeDraft(host: PublisherHost, plan: ShipPlan, shipment: Shipment): Promise<StoredRelease> {
  const { project } = plan
  const { home, client, channel, before, version, notes, made } = shipment
  const { selection } = made
  const tree = join(home.paths.trees, channel, version)
  await removeInside(home.paths.trees, channel, version)
  const earlier = await earlierTree(host, home, before, client)
  try {
    await watched(plan, 'packing', async (progress) => {
      await packTree(home, {
        input: project.source,
        output: tree,
        previous: earlier.folder,
        level: plan.level ?? DEFAULT_LEVEL,
        formatVersion: project.archiveFormat ?? formatVersionAfter(before?.manifest),
        selection,
        layout: project.layout,
        remember: plan.noCache === true ? undefined : host.clock,
        signal: host.signal,
        progress,
      })
      if (plan.runtimeKeyFile ?? carriesKeyFile(before))
        await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
    })
  } finally {
    await earlier.release()
  }
  const warn = (text: string): void => host.warn(text)
  const terms = { ...projectTerms(project, made), warn, nowMs: host.clock(), signal: host.signal }
  try {
    return await watched(plan, 'hashing', (progress) =>
      prepareRelease(home, { tree, channel, version, notes, after: shipment.after, ...terms, progress }),
    )
  } catch (error) {
    await removeInside(home.paths.trees, channel, version)
    throw error
  }
}

/** What changes, and what a player has to download for it. */
async function summaryOf(
  { before, channel, version, home }: Shipment,
  draft: StoredRelease,
): Promise<Omit<ShipSummary, 'percent' | 'unchanged' | 'scheduled'>> {
  const fullBytes = draft.manifest.totals?.downloadBytes ?? 0
  const difference = before === undefined ? undefined : diffManifests(before.manifest, draft.manifest)
  return {
    channel,
    version,
    previous: before?.manifest.version,
    format: draft.manifest.format,
    keyId: activeContentKey(home.description).keyId,
    added: difference?.added.length ?? draft.manifest.files.length,
    changed: difference?.changed.length ?? 0,
    removed: difference?.removed.length ?? 0,
    downloadBytes: before === undefined ? fullBytes : await deltaBytes(before, draft),
    fullBytes,
  }
}
