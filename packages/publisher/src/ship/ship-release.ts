import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkVersionName, diffManifests } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'
import { activeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { removeInside } from '../inside.ts'
import { checkChannelName } from '../names.ts'
import { packTree } from '../release/archives.ts'
import { deltaBytes } from '../release/delta-bytes.ts'
import { discardRelease } from '../release/discard.ts'
import { earlierTree } from '../release/earlier-tree.ts'
import { offerRelease } from '../release/offer.ts'
import { prepareRelease } from '../release/prepare-release.ts'
import { checkProjectServer } from '../release/project-server.ts'
import { planProject } from '../release/project-plan.ts'
import type { ProjectPlan } from '../release/project-plan.ts'
import type { Project } from '../release/project.ts'
import type { PublishReport } from '../release/publish-release.ts'
import { putOffer } from '../release/put-offer.ts'
import { writeRuntimeKeyFile } from '../release/runtime-key-file.ts'
import { openClient } from '../release/server.ts'
import type { ServerOptions } from '../release/server.ts'
import { pinOf, signRelease } from '../release/sign-release.ts'
import { newestRelease } from '../release/sealed.ts'
import { readReleases } from '../release/store.ts'
import type { StoredRelease } from '../release/store.ts'
import { readKnownHeads } from '../release/verified-head.ts'
import type { Progress, PublisherHost } from '../session.ts'
import { openToRelease } from './open-to-release.ts'
import { projectVersion } from './version-name.ts'

const DEFAULT_LEVEL = 12
const SALT_BYTES = 16

/** What takes time while a release is shipped. */
export type ShipWork = 'packing' | 'hashing' | 'uploading'

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
  /**
   * Asked once, when all is known and nothing is signed; not asked in a dry run. Throw to stop: nothing is left behind.
   */
  confirm(summary: ShipSummary): Promise<void>
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
}

/** A release that was shipped, or in a dry run would be. */
export interface Shipped extends ShipSummary {
  /** Sequence of the published head; undefined in a dry run. */
  readonly headSequence: number | undefined
  /** What was sent; undefined in a dry run. */
  readonly report: PublishReport | undefined
}

interface Shipment {
  readonly home: HomeSession
  readonly channel: string
  readonly version: string
  /** The newest release of the channel. */
  readonly before: StoredRelease | undefined
  readonly notes: string | undefined
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
  const { project } = plan
  const home = await openToRelease(host, { write: true })
  checkProject(project, plan.server, home)
  const channel = checkChannelName(plan.channel ?? home.description.channel)
  const client = await openClient(plan, home)
  const { base } = await readKnownHeads(home, channel, client)
  const taken = (await readReleases(home.paths, channel)).map(({ manifest }) => manifest.version)
  const version = plan.version ?? (await projectVersion(project, host.clock(), taken))
  checkVersionName(version) // before it becomes part of a path that is emptied
  const notes = plan.notes ?? (project.notes === undefined ? undefined : await readFile(project.notes, 'utf8'))
  const made = await planProject(project)
  for (const warning of made.warnings) host.warn(warning)
  await makeRoom(host, home, channel, version)
  const before = await newestRelease(home, channel)
  const shipment: Shipment = { home, channel, before, version, notes, made }
  const draft = await makeDraft(host, plan, shipment)
  try {
    const { percent, resume } = plan
    const salt = hexEncode(systemRandom(SALT_BYTES))
    const offer = offerRelease(base?.head, pinOf(draft), { percent, resume, salt })
    const summary = { ...(await summaryOf(shipment, draft)), percent: shareOf(base?.head, percent) }
    if (host.dryRun) {
      await discardRelease(home, channel, version)
      return { ...summary, headSequence: undefined, report: undefined }
    }
    await plan.confirm(summary)
    const release = await signRelease(home, draft)
    const { head, report } = await watched(plan, 'uploading', (progress) =>
      putOffer(home, channel, {
        offer: { ...offer, manifest: pinOf(release) },
        base: base?.head,
        client,
        nowMs: host.clock(),
        signal: host.signal,
        progress,
      }),
    )
    return { ...summary, headSequence: head.head.sequence, report }
  } catch (error) {
    await discardRelease(home, channel, version).catch(() => undefined) // it was offered, or is needed: then it stays
    throw error
  }
}

function checkProject(project: Project, server: string | undefined, { description }: HomeSession): void {
  if (project.product !== undefined && project.product !== description.product)
    throw new PublisherError(
      'CLI_USAGE',
      `The project is "${project.product}", this home is of "${description.product}"`,
    )
  checkProjectServer(server, project, description)
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
 * @throws PublisherError `REL_OFFERED`; `CLI_EXISTS` in a dry run.
 */
async function makeRoom(host: PublisherHost, home: HomeSession, channel: string, version: string): Promise<void> {
  const releases = await readReleases(home.paths, channel)
  if (!releases.some(({ manifest }) => manifest.version === version)) return
  if (host.dryRun)
    throw new PublisherError('CLI_EXISTS', `Release ${version} is already on channel "${channel}"`, {
      hint: 'Give another --version-name; a dry run replaces nothing',
    })
  await discardRelease(home, channel, version)
}

/** The share of installs that gets the release: as it is said, else as the rollout that runs has it. */
function shareOf(base: Head | undefined, percent: number | undefined): number {
  return percent ?? (base?.rollout?.paused === true ? undefined : base?.rollout?.percent) ?? 100
}

async function makeDraft(host: PublisherHost, plan: ShipPlan, shipment: Shipment): Promise<StoredRelease> {
  const { project } = plan
  const { home, channel, before, version, notes, made } = shipment
  const { selection, layout } = made
  const tree = join(home.paths.trees, channel, version)
  await removeInside(home.paths.trees, channel, version)
  const previous = await earlierTree(host, before)
  await watched(plan, 'packing', async (progress) => {
    await packTree(home, {
      input: project.source,
      output: tree,
      previous,
      level: plan.level ?? DEFAULT_LEVEL,
      selection,
      layout: project.layout,
      signal: host.signal,
      progress,
    })
    await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
  })
  const { keep, program, requires } = project
  const rules = { keep, program, requires, layout, components: project.layout.components }
  const terms = { ...rules, nowMs: host.clock(), signal: host.signal }
  try {
    return await watched(plan, 'hashing', (progress) =>
      prepareRelease(home, { tree, channel, version, selection, notes, ...terms, progress }),
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
): Promise<Omit<ShipSummary, 'percent'>> {
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
