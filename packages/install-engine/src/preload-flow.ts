import { join } from 'node:path'
import { parseManifest, verifyManifestSignatures, limits } from '@keyturn/manifest'
import type { PreloadPin, ReleaseManifest, VerifiedAuthority } from '@keyturn/manifest'
import { sha256Hex } from '@keyturn/primitives'
import type { OneAtATime } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { listFolder, writeSmallFile } from './disk/disk.ts'
import type { FileIdentity } from './disk/disk.ts'
import type { InstallState } from './disk/state-file.ts'
import { LauncherError } from './errors.ts'
import type { PlanSummary } from './events.ts'
import { UpdateRun } from './place/update-run.ts'
import type { Prepared } from './place/update-run.ts'
import {
  addStaged,
  blobsOf,
  keepStaged,
  keyFile,
  preloadBlobs,
  preloadFiles,
  readPreload,
  readPreloadManifest,
  writePreload,
} from './disk/preload-record.ts'
import type { Session } from './session.ts'

/** How a release is fetched ahead. */
export interface PreloadOptions {
  readonly signal?: AbortSignal | undefined
  /** Asked once it is known what would come over the network; false leaves it for later. */
  readonly mayDownload?: ((plan: PlanSummary) => boolean) | undefined
}

/** What fetching ahead came to. */
export interface PreloadResult {
  /**
   * `none`: nothing is scheduled; `ready`: everything is staged; `no-space`: it does not fit, and comes when it is
   * offered; `later`: it was not allowed, or something else needed the install; the rest comes the next time.
   */
  readonly outcome: 'none' | 'ready' | 'no-space' | 'later'
  readonly version?: string | undefined
  /** When it opens, as the head says. */
  readonly at?: string | undefined
  readonly downloadedBytes: number
}

interface Wanted {
  readonly pin: PreloadPin
  readonly manifest: ReleaseManifest
  readonly state: InstallState
}

const NOTHING: PreloadResult = { outcome: 'none', downloadedBytes: 0 }

/**
 * Fetches a scheduled release ahead: into the staging folder, verified, and no further. What is installed is only read.
 * Anything else that the launcher does comes first; what was fetched stays for the next time.
 */
export class PreloadFlow {
  readonly #session: Session
  readonly #turns: OneAtATime
  readonly #line: OneAtATime
  #stopper: AbortController | undefined
  #ended: Promise<unknown> = Promise.resolve()

  /**
   * @param turns - One operation on the install at a time.
   * @param line - One update at a time.
   */
  constructor(session: Session, { turns, line }: { turns: OneAtATime; line: OneAtATime }) {
    this.#session = session
    this.#turns = turns
    this.#line = line
    const leaveStaging = session.leaveStaging
    session.leaveStaging = async () => {
      await this.giveWay()
      await leaveStaging()
    }
  }

  /** Ends what is being fetched ahead; what came of it is kept. */
  async giveWay(reason?: LauncherError): Promise<void> {
    this.#stopper?.abort(reason ?? new LauncherError('LA_LOCKED', 'Fetching ahead gives way'))
    await this.#ended.catch(() => undefined)
  }

  /** Fetches what the stored head names, or removes what it no longer names. */
  async run(options: PreloadOptions): Promise<PreloadResult> {
    if (!(await this.#isWorthALook())) return NOTHING
    const running = this.#line.run(async () => {
      const stopper = new AbortController()
      this.#stopper = stopper
      const signal = options.signal === undefined ? stopper.signal : AbortSignal.any([stopper.signal, options.signal])
      try {
        return await this.#once(signal, options)
      } catch (error) {
        options.signal?.throwIfAborted()
        // A pause ends it as it ends an update; anything else only comes first.
        if (!stopper.signal.aborted || isPause(stopper.signal.reason)) throw error
        return { outcome: 'later', downloadedBytes: this.#session.meter.networkBytes } as const
      } finally {
        this.#stopper = undefined
        this.#session.background = undefined
        this.#session.enter('idle')
      }
    })
    this.#ended = running
    return await running
  }

  /** Most channels schedule nothing: then nothing is locked. What is read here decides nothing else. */
  async #isWorthALook(): Promise<boolean> {
    const { options, layout, trust } = this.#session
    return (await pathExists(layout.preload, options.fs)) || (await trust.namesPreload())
  }

  async #once(signal: AbortSignal, options: PreloadOptions): Promise<PreloadResult> {
    const session = this.#session
    const { fs } = session.options
    const verified = new Map<string, FileIdentity>()
    const begun = await this.#turns.run(() =>
      session.exclusively(async ({ state }) => await this.#begin({ state, signal, verified }, options)),
    )
    if ('outcome' in begun) return begun
    const { run, prepared, wanted } = begun
    session.background = 'fetch'
    session.enter('fetch')
    try {
      await session.staging(async () => await run.stage(prepared, signal))
    } finally {
      await keepStaged(fs, session.layout, verified)
    }
    return await this.#ready(wanted)
  }

  async #begin(
    { state, signal, verified }: { state: InstallState; signal: AbortSignal; verified: Map<string, FileIdentity> },
    options: PreloadOptions,
  ): Promise<PreloadResult | { run: UpdateRun; prepared: Prepared; wanted: Wanted }> {
    const session = this.#session
    const { fs } = session.options
    const { layout } = session
    signal.throwIfAborted()
    if (state.installed === undefined || state.partial !== undefined) return NOTHING
    if (await pathExists(layout.paused, fs)) return NOTHING
    session.source.begin(false)
    session.resetMeter()
    const head = await this.#storedHead()
    if (head === undefined) return NOTHING // it says nothing that counts: what is staged stays
    const { preload: pin, authority } = head
    if (pin === undefined || pin.sha256 === state.installed.manifestSha256) {
      await this.#drop()
      return NOTHING
    }
    const manifest = await this.#manifestOf(pin, authority, signal)
    if (manifest === undefined || state.failed.includes(pin.sha256)) return NOTHING
    const wanted = { pin, manifest, state }
    await addStaged(fs, layout, verified)
    const ref = {
      version: pin.version,
      sequence: pin.sequence,
      epoch: manifest.epoch ?? 0,
      channel: session.options.channel,
      manifestSha256: pin.sha256,
      rolesVersion: authority?.roles.version ?? 0,
    }
    const ahead = { ...manifest, files: manifest.files.filter(({ path }) => path !== keyFile) }
    const run = new UpdateRun(session, { ref, manifest: ahead }, state, {
      kind: 'update',
      verifyAll: false,
      signal,
      verified,
    })
    const prepared = await this.#prepared(run, wanted)
    if (prepared === undefined) return await this.#noSpace(wanted)
    const before = await readPreload(fs, layout)
    if (prepared.fetchPlan.downloadBytes > 0 && options.mayDownload?.(prepared.summary) === false) {
      await this.#note(wanted, false)
      return { outcome: 'later', version: pin.version, at: pin.at, downloadedBytes: 0 }
    }
    await this.#note(wanted, before?.sha256 === pin.sha256 && before.ready)
    return { run, prepared, wanted }
  }

  /** What the last head that was verified says, as long as it counts. */
  async #storedHead(): Promise<
    { preload: PreloadPin | undefined; authority: VerifiedAuthority | undefined } | undefined
  > {
    const session = this.#session
    const { clock, channel, ignoreRollout } = session.options
    const loaded = await session.trust.load()
    if (loaded.lost) return undefined
    const decision = await session.trust.judgeStored(loaded.state, {
      channel,
      nowMs: clock(),
      cohort: ignoreRollout === true ? 'in' : { installId: await session.installId() },
    })
    if (decision.outcome === 'refused' || decision.head === undefined) return undefined
    return { preload: decision.head.preload, authority: decision.authority }
  }

  /** The manifest that the head pins, once the release role has signed it; kept beside the install. */
  async #manifestOf(
    pin: PreloadPin,
    authority: VerifiedAuthority | undefined,
    signal: AbortSignal,
  ): Promise<ReleaseManifest | undefined> {
    if (authority === undefined) return undefined
    const session = this.#session
    const { fs, channel, product } = session.options
    const { layout } = session
    const known = await readPreloadManifest(fs, layout, pin.sha256)
    const path = `channels/${channel}/manifests/${encodeURIComponent(pin.version)}`
    const bytes = known ?? (await session.source.document(`${path}.json`, limits.manifestBytes, { signal }))
    if (bytes === undefined || bytes.length !== pin.length || sha256Hex(bytes) !== pin.sha256) return undefined
    if (known !== undefined) return parseManifest(known)
    const signatures = await session.source.document(`${path}.sigs.json`, limits.signaturesBytes, { signal })
    if (signatures === undefined) return undefined
    const { roles } = authority
    verifyManifestSignatures(bytes, signatures, { ...roles.roles.release, revokedKeys: roles.revokedKeys })
    const manifest = parseManifest(bytes)
    const isMeant =
      manifest.channel === channel &&
      manifest.sequence === pin.sequence &&
      manifest.epoch === roles.epoch &&
      (product === undefined || manifest.product === product)
    if (!isMeant) return undefined
    await this.#dropAllBut(blobsOf(manifest).files)
    await fs.mkdir(layout.preload, { recursive: true, mode: 0o700 })
    await writeSmallFile(fs, preloadFiles(layout).manifest, bytes)
    return manifest
  }

  /** Compares; undefined where it does not fit on the disk beside what is installed. */
  async #prepared(run: UpdateRun, { pin }: Wanted): Promise<Prepared | undefined> {
    try {
      const prepared = await run.prepare()
      return prepared.isLow ? undefined : prepared
    } catch (error) {
      if (!(error instanceof LauncherError) || error.code !== 'LA_DISK_FULL') throw error
      const missing = Number(error.details['missing'] ?? 0)
      this.#session.emit({
        type: 'notice',
        code: 'LA_PRELOAD_SPACE',
        message: `Release ${pin.version} cannot be fetched ahead: ${missing} more bytes are needed on the disk`,
      })
      return undefined
    }
  }

  async #noSpace(wanted: Wanted): Promise<PreloadResult> {
    await this.#note(wanted, false, true)
    return { outcome: 'no-space', version: wanted.pin.version, at: wanted.pin.at, downloadedBytes: 0 }
  }

  async #ready(wanted: Wanted): Promise<PreloadResult> {
    const { pin } = wanted
    const session = this.#session
    await this.#note(wanted, true)
    return { outcome: 'ready', version: pin.version, at: pin.at, downloadedBytes: session.meter.networkBytes }
  }

  async #note({ pin }: Wanted, ready: boolean, full = false): Promise<void> {
    const { version, sequence, sha256, at } = pin
    const { options, layout } = this.#session
    await writePreload(options.fs, layout, { version, sequence, sha256, at, ready, full })
  }

  /** Forgets the release, the manifest last: until it is gone, what it names is known. */
  async #drop(): Promise<void> {
    const { options, layout } = this.#session
    const { fs } = options
    if (!(await pathExists(layout.preload, fs))) return
    await this.#dropAllBut(new Set())
    const { record, staged, manifest } = preloadFiles(layout)
    for (const path of [record, staged, manifest]) await fs.rm(path, { force: true })
    await fs.rm(layout.preload, { recursive: true, force: true })
  }

  /** Removes what only the release before needed; what an update staged for itself stays. */
  async #dropAllBut(needed: ReadonlySet<string>): Promise<void> {
    const { options, layout } = this.#session
    const { files } = await preloadBlobs(options.fs, layout)
    const stale = new Set([...files].filter((sha256) => !needed.has(sha256)))
    if (stale.size === 0) return
    await this.#session.staging(async () => {
      for (const name of await listFolder(options.fs, layout.staging))
        if (stale.has(name.slice(0, 64))) await options.fs.rm(join(layout.staging, name), { force: true })
    })
  }
}

function isPause(reason: unknown): boolean {
  return reason instanceof LauncherError && reason.code === 'LA_PAUSED'
}
