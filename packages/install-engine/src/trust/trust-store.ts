import { dirname, join } from 'node:path'
import {
  formatTrustRoot,
  initialTrustState,
  limits,
  parseHead,
  parseHeadEnvelope,
  parseManifest,
  parseTrustRoot,
  parseTrustState,
  rebuildTrustState,
  releaseSteps,
  writeTrustState,
} from '@keyturn/manifest'
import type {
  Head,
  AcceptedRelease,
  DocumentAnswer,
  DocumentRequest,
  Mirror,
  PinnedKeysRoot,
  ReleaseDecision,
  TrustRoot,
  TrustState,
  VerifyOptions,
} from '@keyturn/manifest'
import { equalBytes } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { listFolder, readSmallFile, syncFolders, writeSmallFile } from '../disk/disk.ts'
import { driveRelease } from './drive-release.ts'
import { manifestStem } from '../disk/layout.ts'
import type { Layout } from '../disk/layout.ts'
import { keptFiles } from '../disk/kept-manifest.ts'
import type { KeptFiles } from '../disk/kept-manifest.ts'
import { readPreloadManifest } from '../disk/preload-record.ts'
import { keepMove, proveMove } from './proven-move.ts'
import { raisedBy, raisedByPinned } from './raise-floors.ts'

/** The stored trust of an install. */
export interface LoadedTrust {
  readonly state: TrustState
  /**
   * Both copies were damaged and no signed document is left to rebuild them, or an install of pinned keys speaks of an
   * identity and nothing proves how it came there: nothing new is installed.
   */
  readonly lost: boolean
}

/** The literal bytes that a decision was made from, as far as they are kept. */
export interface CycleDocuments {
  readonly signatures?: Uint8Array | undefined
  readonly legacySignature?: Uint8Array | undefined
}

const DAY_MS = 24 * 60 * 60 * 1000

const MANIFEST_NAME = /^([1-9][0-9]{0,15})\.json$/

const ROLES_NAME = /^([1-9][0-9]{0,8})\.json$/

/** Reads and writes `.updates/trust`; docs/spec/launcher.md §3.1. */
export class TrustStore {
  readonly #fs: FileSystem
  readonly #layout: Layout
  readonly #root: TrustRoot
  readonly #channel: string

  /**
   * @param trust - The pin, as settings or options give it.
   * @param channel - The channel of the install.
   */
  constructor(fs: FileSystem, layout: Layout, trust: string, channel: string) {
    this.#fs = fs
    this.#layout = layout
    this.#root = parseTrustRoot(trust)
    this.#channel = channel
  }

  async #read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return await readSmallFile(this.#fs, path, maxBytes)
  }

  async #parsed(path: string): Promise<TrustState | 'absent' | 'damaged'> {
    const bytes = await this.#read(path, limits.manifestBytes)
    if (bytes === undefined) return 'absent'
    try {
      return parseTrustState(bytes)
    } catch {
      return 'damaged'
    }
  }

  /**
   * The trust of this install: `trust.json`, else the copy before it, else what the stored signed documents prove.
   *
   * @throws LauncherError `LA_SETTINGS` when the install belongs to another identity.
   */
  async load(): Promise<LoadedTrust> {
    const current = await this.#parsed(this.#layout.trustState)
    const found = typeof current === 'object' ? current : await this.#parsed(this.#layout.trustStatePrevious)
    const stored = typeof found === 'object' ? found : undefined
    if (this.#root.kind === 'pinned-keys') return await this.#underPinnedKeys(this.#root, stored)
    if (stored !== undefined && (stored.root.kind !== 'kel' || stored.root.prefix !== this.#root.prefix)) {
      throw new LauncherError(
        'LA_SETTINGS',
        `Cannot use trust root "${formatTrustRoot(this.#root)}": this install belongs to ` +
          `"${formatTrustRoot(stored.root)}"`,
        {
          hint: 'Install into another folder, or uninstall first',
        },
      )
    }
    // A newer pin of the same identity takes the place of the older one; earlier keys are not known to be this
    // install's.
    const { movedFrom: _unproven, ...known } = stored ?? initialTrustState(this.#root)
    const state = await this.#raised({ ...known, root: this.#root })
    return { state, lost: current === 'damaged' && state.roles === undefined }
  }

  /**
   * Whether an install of pinned keys moved to an identity is not for `trust.json` to say: the manifest that led there
   * is kept and verified again. Once proven, no setting and no edited copy brings the old keys back.
   */
  async #underPinnedKeys(pinned: PinnedKeysRoot, stored: TrustState | undefined): Promise<LoadedTrust> {
    const move = await proveMove(this.#fs, this.#layout, pinned)
    const isTheirs =
      stored !== undefined && (stored.root.kind === 'pinned-keys' || stored.root.prefix === move?.root.prefix)
    const { movedFrom: _written, ...known } = isTheirs ? stored : initialTrustState(pinned)
    if (move === undefined) {
      // A lost proof must not bring keys back that the identity took the place of: they may be why it did.
      const lost = stored?.root.kind === 'kel' || (await this.log()) !== undefined
      return { state: await this.#raisedUnderPinnedKeys(pinned, { ...known, root: pinned }), lost }
    }
    const epoch = known.epoch ?? move.epoch
    return {
      state: await this.#raised(
        raisedByPinned(
          { ...known, root: move.root, movedFrom: pinned, ...(epoch !== undefined && { epoch }) },
          move.floors,
        ),
      ),
      lost: false,
    }
  }

  async #raisedUnderPinnedKeys(pinned: PinnedKeysRoot, state: TrustState): Promise<TrustState> {
    let raised = state
    for (const sequence of [...(await this.#storedSequences()), 0]) {
      const manifest = await this.manifest(sequence).catch(() => undefined)
      const { legacySignature: file } = await this.#kept(sequence)
      const legacySignature = await this.#read(file, limits.legacySignatureBytes).catch(() => undefined)
      if (manifest === undefined || legacySignature === undefined) continue
      raised = raisedByPinned(
        raised,
        rebuildTrustState(pinned, { manifests: [{ manifest, legacySignature }] }, this.#channel),
      )
    }
    return raised
  }

  /**
   * Floors that the stored documents prove, so that a lowered or deleted `trust.json` gains nothing. Their age does
   * not matter here: an expired head is still a floor.
   */
  async #raised(state: TrustState): Promise<TrustState> {
    const log = await this.log()
    if (state.root.kind !== 'kel' || log === undefined) return state
    const head = await this.#read(this.#layout.head, limits.headBytes)
    const roles = (await this.roles()).map(({ bytes }) => bytes)
    const stored = { log, roles, heads: head === undefined ? [] : [head] }
    const raised = raisedBy(state, rebuildTrustState(state.root, stored))
    for (const sequence of await this.#storedSequences()) {
      const manifest = await this.#storedManifest(sequence).catch(() => undefined) // what cannot be read proves nothing
      if (manifest === undefined) continue
      const proven = rebuildTrustState(state.root, { ...stored, manifests: [manifest] })
      // The newest of this channel proves the floor, those below it prove nothing more. One that is stored under a
      // number that is not its own hides no other.
      if (proven.channels[this.#channel]?.manifestSequence === sequence) return raisedBy(raised, proven)
    }
    return raised
  }

  /** Where the manifest of a sequence of a channel, by default the one that is followed, is kept. */
  async #kept(sequence: number, channel: string = this.#channel): Promise<KeptFiles> {
    return await keptFiles(this.#fs, this.#layout, { channel, sequence })
  }

  /** Sequences of the stored manifests of the channel that is followed, descending. */
  async #storedSequences(): Promise<number[]> {
    const own = await listFolder(this.#fs, dirname(manifestStem(this.#layout, { channel: this.#channel, sequence: 0 })))
    const old = await listFolder(this.#fs, this.#layout.manifests)
    const sequences = [...own, ...old].map((name) => Number(MANIFEST_NAME.exec(name)?.[1] ?? '0'))
    return [...new Set(sequences)].filter((sequence) => sequence > 0).sort((a, b) => b - a)
  }

  async #storedManifest(sequence: number): Promise<{ manifest: Uint8Array; signatures: Uint8Array } | undefined> {
    const kept = await this.#kept(sequence)
    const manifest = await this.#read(kept.manifest, limits.manifestBytes)
    const signatures = await this.#read(kept.signatures, limits.signaturesBytes)
    return manifest === undefined || signatures === undefined ? undefined : { manifest, signatures }
  }

  /** Verifies what is stored as if it had just come from the network. */
  async judgeStored(state: TrustState, options: VerifyOptions): Promise<ReleaseDecision> {
    const earlier = (await this.roles()).map(({ bytes }) => bytes)
    return await driveRelease(releaseSteps(state, options, earlier), (request) => this.#stored(request))
  }

  async #stored(request: DocumentRequest): Promise<DocumentAnswer> {
    switch (request.document) {
      case 'log':
        return await this.log()
      case 'roles':
        return await this.role(request.version)
      case 'kills':
        return await this.kills()
      case 'head':
        return await this.#read(this.#layout.head, request.maxBytes)
      case 'manifest':
        return request.pin === undefined
          ? await this.#read(this.#layout.manifest, request.maxBytes)
          : await this.manifest(request.pin.sequence, request.channel)
      case 'signatures':
        return await this.#read((await this.#kept(request.pin.sequence, request.channel)).signatures, request.maxBytes)
      case 'proof':
        return undefined // what it proved is in the state, and rebuilt by the next cycle
      case 'legacy-signature':
        return await this.#read(this.#layout.manifestSig, request.maxBytes)
    }
  }

  /** The stored role documents, ascending. */
  async roles(): Promise<{ version: number; bytes: Uint8Array }[]> {
    const found: { version: number; bytes: Uint8Array }[] = []
    for (const name of await listFolder(this.#fs, this.#layout.roles)) {
      const version = Number(ROLES_NAME.exec(name)?.[1] ?? '0')
      const bytes = version === 0 ? undefined : await this.#read(join(this.#layout.roles, name), limits.rolesBytes)
      if (bytes !== undefined) found.push({ version, bytes })
    }
    return found.sort((a, b) => a.version - b.version)
  }

  /** Mirrors of the stored head, which was verified before it was stored. */
  async mirrors(): Promise<readonly Mirror[]> {
    return (await this.#storedHead())?.mirrors ?? []
  }

  async #storedHead(): Promise<Head | undefined> {
    const bytes = await this.#read(this.#layout.head, limits.headBytes).catch(() => undefined)
    try {
      return bytes === undefined ? undefined : parseHead(parseHeadEnvelope(bytes).payload)
    } catch {
      return undefined // damaged on disk: the server alone is asked
    }
  }

  /** Whether the stored head schedules a release. */
  async namesPreload(): Promise<boolean> {
    return (await this.#storedHead())?.preload !== undefined
  }

  /** SHA-256 of the manifests that the stored head withdraws. */
  async withdrawn(): Promise<ReadonlySet<string>> {
    return new Set((await this.#storedHead())?.revoked.map(({ sha256 }) => sha256))
  }

  /**
   * Whether the log was compared between server and mirrors within a day; if not, it counts as compared from now on.
   */
  async isTipComparisonDue(nowMs: number): Promise<boolean> {
    const path = join(this.#layout.trust, 'compared_at')
    const bytes = await this.#read(path, 32).catch(() => undefined)
    const last = Number(bytes === undefined ? '0' : new TextDecoder().decode(bytes))
    if (Number.isFinite(last) && nowMs >= last && nowMs - last < DAY_MS) return false
    await writeSmallFile(this.#fs, path, new TextEncoder().encode(String(nowMs)))
    return true
  }

  /**
   * The number of the newest role document that the stored log seals, when that document is not at hand: deleted or
   * damaged, since it was stored before the log. What it withdrew is then not known.
   */
  async missingRoles(state: TrustState): Promise<number | undefined> {
    const log = await this.log()
    if (state.root.kind !== 'kel' || log === undefined) return undefined
    const steps = releaseSteps(state, { channel: this.#channel, nowMs: 0 })
    let step = steps.next()
    if (step.done !== true && step.value.document === 'log') step = steps.next(log)
    // The log is refused, and verifying it says so.
    if (step.done === true || step.value.document !== 'roles') return undefined
    const { version } = step.value
    const { roles } = rebuildTrustState(state.root, { log, roles: (await this.roles()).map(({ bytes }) => bytes) })
    return roles?.version === version ? undefined : version
  }

  /** One stored role document. */
  async role(version: number): Promise<Uint8Array | undefined> {
    return await this.#read(join(this.#layout.roles, `${version}.json`), limits.rolesBytes)
  }

  /** The stored notices of keys that ended themselves. */
  async kills(): Promise<Uint8Array | undefined> {
    return await this.#read(this.#layout.kills, limits.killsBytes).catch(() => undefined)
  }

  /** The stored key event log. */
  async log(): Promise<Uint8Array | undefined> {
    return await this.#read(this.#layout.keyLog, limits.logBytes)
  }

  /** The stored manifest of a sequence of a channel, by default the one that is followed. */
  async manifest(sequence: number, channel?: string): Promise<Uint8Array | undefined> {
    return await this.#read((await this.#kept(sequence, channel)).manifest, limits.manifestBytes)
  }

  /** The manifest of a release that was fetched ahead, if it is this one. */
  async preloaded(sha256: string): Promise<Uint8Array | undefined> {
    return await readPreloadManifest(this.#fs, this.#layout, sha256)
  }

  async #store(path: string, bytes: Uint8Array): Promise<void> {
    const there = await this.#read(path, limits.manifestBytes).catch(() => undefined)
    if (there !== undefined && equalBytes(there, bytes)) return
    await writeSmallFile(this.#fs, path, bytes)
  }

  /**
   * Keeps what a cycle accepted: documents first, then the floors that they raised (C1, C2), so that after a crash in
   * between the documents are older than nothing and the floors are never ahead of their proof.
   */
  async persist(decision: ReleaseDecision, documents: CycleDocuments): Promise<void> {
    const { authority } = decision
    if (authority !== undefined) {
      await this.#store(
        join(this.#layout.roles, `${decision.state.roles?.version ?? authority.roles.version}.json`),
        authority.rolesBytes,
      )
      await this.#store(this.#layout.keyLog, authority.logBytes)
    }
    if (decision.kills !== undefined) await this.#store(this.#layout.kills, decision.kills)
    if (decision.outcome === 'accepted') await this.#storeRelease(decision, documents)
    if (
      decision.outcome === 'accepted' &&
      decision.authority === undefined &&
      decision.state.root.kind === 'kel' &&
      documents.legacySignature !== undefined
    ) {
      await keepMove(this.#fs, this.#layout, decision, documents.legacySignature)
    }
    if (decision.outcome !== 'refused' && decision.headBytes !== undefined)
      await this.#store(this.#layout.head, decision.headBytes)
    await this.write(decision.state)
  }

  async #storeRelease(decision: AcceptedRelease, documents: CycleDocuments): Promise<void> {
    const { sequence = 0, channel = this.#channel } = decision.manifest
    const stem = manifestStem(this.#layout, { channel, sequence })
    const made = await this.#fs.mkdir(dirname(stem), { recursive: true, mode: 0o700 })
    if (made !== undefined) await syncFolders(this.#fs, [this.#layout.manifests, this.#layout.trust])
    if (documents.signatures !== undefined) await this.#store(`${stem}.sigs.json`, documents.signatures)
    if (documents.legacySignature !== undefined) await this.#store(`${stem}.json.sig`, documents.legacySignature)
    await this.#store(`${stem}.json`, decision.manifestBytes)
  }

  /** Writes the state, keeping the one before it. */
  async write(state: TrustState): Promise<void> {
    const bytes = writeTrustState(state)
    const there = await this.#read(this.#layout.trustState, limits.manifestBytes).catch(() => undefined)
    if (there !== undefined && equalBytes(there, bytes)) return
    if (there !== undefined && (await this.#parsed(this.#layout.trustState)) !== 'damaged') {
      await writeSmallFile(this.#fs, this.#layout.trustStatePrevious, there)
    }
    await writeSmallFile(this.#fs, this.#layout.trustState, bytes)
  }

  /** Keeps a refused document as evidence of a contradiction. */
  async keepEvidence(name: string, bytes: Uint8Array): Promise<void> {
    await this.#fs.mkdir(this.#layout.evidence, { recursive: true, mode: 0o700 })
    await this.#store(join(this.#layout.evidence, name), bytes)
  }

  /** Content keys of the newest accepted manifest of a channel. */
  async newestContentKeys(
    state: TrustState,
    channel: string,
  ): Promise<ReturnType<typeof parseManifest>['contentKeys']> {
    const sequence = Object.hasOwn(state.channels, channel) ? state.channels[channel]?.manifestSequence : undefined
    const bytes = sequence === undefined ? undefined : await this.manifest(sequence, channel)
    if (bytes === undefined) return []
    try {
      return parseManifest(bytes).contentKeys
    } catch {
      return [] // damaged on disk: it will be fetched again
    }
  }
}
