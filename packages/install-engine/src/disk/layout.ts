import { join } from 'node:path'

/** Where the launcher keeps what it knows, docs/spec/launcher.md §3; all below `<install>/.updates`. */
export interface Layout {
  readonly root: string
  readonly updates: string
  readonly lock: string
  /** Held while something is downloaded into `staging`. */
  readonly stagingLock: string
  readonly log: string
  readonly manifest: string
  readonly manifestSig: string
  readonly manifestSigs: string
  readonly state: string
  readonly plan: string
  readonly transaction: string
  readonly hashCache: string
  readonly settings: string
  readonly installId: string
  readonly reported: string
  /** Exists while downloads are paused. */
  readonly paused: string
  readonly staging: string
  readonly backup: string
  /** What is known of a release that is fetched ahead. */
  readonly preload: string
  readonly index: string
  readonly trust: string
  readonly trustState: string
  readonly trustStatePrevious: string
  readonly keyLog: string
  readonly roles: string
  readonly head: string
  /** Notices of keys that ended themselves. */
  readonly kills: string
  /** Why the last offer was refused; there while no later one was accepted. */
  readonly refused: string
  readonly manifests: string
  readonly evidence: string
  readonly runtimeKeyCache: string
  /** Rollback floors of the transport keys. */
  readonly transportFloors: string
}

/** Name of the launcher's own folder inside an install. */
export const updatesFolder = '.updates'

/** The paths of one install. */
export function layoutOf(root: string): Layout {
  const updates = join(root, updatesFolder)
  const trust = join(updates, 'trust')
  return Object.freeze({
    root,
    updates,
    lock: join(updates, 'lock'),
    stagingLock: join(updates, 'staging.lock'),
    log: join(updates, 'launcher.log'),
    manifest: join(updates, 'current-manifest.json'),
    manifestSig: join(updates, 'current-manifest.json.sig'),
    manifestSigs: join(updates, 'current-manifest.sigs.json'),
    state: join(updates, 'state.json'),
    plan: join(updates, 'plan.json'),
    transaction: join(updates, 'txn.json'),
    hashCache: join(updates, 'hashcache.bin'),
    settings: join(updates, 'settings.json'),
    installId: join(updates, 'install_id'),
    reported: join(updates, 'reported.json'),
    paused: join(updates, 'paused'),
    staging: join(updates, 'staging'),
    backup: join(updates, 'backup'),
    preload: join(updates, 'preload'),
    index: join(updates, 'index'),
    trust,
    trustState: join(trust, 'trust.json'),
    trustStatePrevious: join(trust, 'trust.json.prev'),
    keyLog: join(trust, 'log.cesr'),
    roles: join(trust, 'roles'),
    head: join(trust, 'head.json'),
    kills: join(trust, 'kills.json'),
    refused: join(trust, 'refused.json'),
    manifests: join(trust, 'manifests'),
    evidence: join(trust, 'evidence'),
    runtimeKeyCache: join(updates, 'runtime-keys.sealed'),
    transportFloors: join(trust, 'transport-floors.json'),
  })
}

/**
 * Where an accepted manifest and its signatures are kept, without the ending: each channel counts its sequences from 1.
 */
export function manifestStem(layout: Layout, { channel, sequence }: { channel: string; sequence: number }): string {
  return join(layout.manifests, channel, String(sequence))
}

/** Where launchers before 0.2 kept it: of whichever channel was accepted last. */
export function oldManifestStem(layout: Layout, sequence: number): string {
  return join(layout.manifests, String(sequence))
}
