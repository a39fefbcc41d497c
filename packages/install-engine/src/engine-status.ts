import { allFilesFor, componentsFor, floorOf, ManifestError } from '@keyturn/manifest'
import type { ReleaseManifest, TrustState } from '@keyturn/manifest'
import { pathExists } from '@keyturn/primitives/node'
import { runningClient } from './disk/client-process.ts'
import { readState } from './disk/state-file.ts'
import type { InstallState } from './disk/state-file.ts'
import type { EngineStatus, Offer, PublishedStatus } from './engine-interface.ts'
import { shownUrl } from './fetch/proxy.ts'
import { readPreload } from './disk/preload-record.ts'
import type { Session } from './session.ts'
import { verifyInstalledRelease } from './trust/installed-release.ts'
import type { InstalledRelease } from './trust/installed-release.ts'
import { readRefusal } from './trust/refusal.ts'

/** What is known without asking anybody. */
export async function engineStatus(session: Session): Promise<EngineStatus> {
  const { fs, channel, server } = session.options
  const { state } = await readState(fs, session.layout)
  const {
    trust,
    reason,
    published,
    notes,
    needsKey = false,
    refused,
    components = [],
    ...newest
  } = await trustStatus(session, state)
  return {
    folder: session.layout.root,
    server: shownUrl(server),
    channel,
    state: session.state,
    version: state.installed?.version,
    sequence: state.installed?.sequence,
    manifestSha256: state.installed?.manifestSha256,
    trust,
    reason,
    refused,
    published,
    rolesVersion: state.installed?.rolesVersion,
    notes,
    components,
    needsKey,
    offered: newest.offered,
    offeredNotes: newest.offeredNotes,
    confirmed: state.confirmed,
    failedStarts: state.failedStarts,
    clientPid: await runningClient(fs, session.layout),
    canRollBack: state.previous !== undefined,
    unfinished: state.partial?.version,
    next: await nextRelease(session, state),
    paused: await pathExists(session.layout.paused, fs),
    bytesPerSecond: session.limit.bytesPerSecond,
    progress: session.meter.snapshot(),
  }
}

type ReleaseStatus = Pick<
  EngineStatus,
  'refused' | 'published' | 'notes' | 'components' | 'needsKey' | 'offered' | 'offeredNotes'
>

/** What is scheduled, as far as this install has begun to fetch it. */
async function nextRelease({ options, layout }: Session, { installed }: InstallState): Promise<EngineStatus['next']> {
  const record = await readPreload(options.fs, layout)
  if (record === undefined || record.sha256 === installed?.manifestSha256) return undefined
  const { version, at, ready, full } = record
  return { version, at, state: ready ? 'ready' : full ? 'full' : 'coming' }
}

/**
 * Trust as the stored documents and the clock have it. After a refused offer nobody can say that what is installed is
 * the newest, whatever the documents from before it say.
 */
export async function trustStatus(
  session: Session,
  state: InstallState,
): Promise<Pick<EngineStatus, 'trust' | 'reason'> & Partial<ReleaseStatus>> {
  const { clock, channel, target, groups, components } = session.options
  const loaded = await session.trust.load()
  if (loaded.lost) return { trust: 'stale', reason: lostTrust(session) }
  let release: InstalledRelease | undefined
  if (state.installed !== undefined) {
    const verified = await verifyInstalledRelease(session, state.installed, loaded.state)
    if (!verified.playable) return { trust: 'barred', reason: verified.error }
    release = verified.release
  }
  const decision = await session.trust.judgeStored(loaded.state, { channel, nowMs: clock() })
  const refused = await readRefusal(session.options.fs, session.layout)
  const reason = decision.outcome === 'refused' && decision.trust !== 'pinned' ? decision.error : undefined
  const isDoubted = refused !== undefined && decision.trust === 'current'
  return {
    trust: isDoubted ? 'stale' : decision.trust,
    reason: reason ?? (isDoubted ? refused : undefined),
    refused,
    published: publishedStatus(loaded.state, channel),
    notes: release?.manifest.notes,
    needsKey: release !== undefined && release.format.runtimeKey !== 'none',
    components: release === undefined ? [] : componentsFor(release.manifest, target, groups ?? components),
    offered: decision.outcome === 'accepted' ? decision.manifest.version : undefined,
    offeredNotes: decision.outcome === 'accepted' ? decision.manifest.notes : undefined,
  }
}

function publishedStatus(state: TrustState, channel: string): PublishedStatus | undefined {
  const { witnessed, unwitnessed } = floorOf(state, channel)
  if (unwitnessed !== undefined) return { until: unwitnessed.until }
  if (witnessed === undefined) return undefined
  const { signed, of, origin, index } = witnessed
  return { signed, of, origin, index }
}

/** Nothing is left that says what this install may trust. */
export function lostTrust(session: Session): ManifestError {
  return new ManifestError(
    'TRUST_LOST',
    `Cannot update: no signed document is left that proves what "${session.layout.trustState}" should say`,
    {
      hint:
        'Remove the folder "trust" below ".updates" if you are sure that this install comes from the right ' +
        'publisher',
    },
  )
}

/** What a release would be on this machine. */
export function offerOf({ options: { target, groups, components } }: Session, manifest: ReleaseManifest): Offer {
  const files = allFilesFor(manifest, target)
  return {
    version: manifest.version,
    notes: manifest.notes,
    bytes: files.reduce((sum, { size, group }) => (group === undefined ? sum + size : sum), 0),
    components: componentsFor(manifest, target, groups ?? components),
    paths: files.map(({ path }) => path),
  }
}
