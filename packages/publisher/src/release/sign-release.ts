import { join } from 'node:path'
import { manifestPin, signHead, signManifest, writeHead } from '@keyturn/manifest'
import type { Head, Mirror, Rollout } from '@keyturn/manifest'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { readIdentityLog, readStoredHead, releaseFiles, rolesInForce, storeHead } from './store.ts'
import type { StoredHead, StoredRelease } from './store.ts'
import { daysFrom } from '../time.ts'

/**
 * Signs the literal bytes of a manifest with release keys of the home; signatures that are there already stay.
 *
 * @param home - Open home.
 * @param release - From `prepareRelease` or `findRelease`.
 * @param aliases - Keys that sign; default: the release key in force.
 */
export async function signRelease(
  home: HomeSession,
  release: StoredRelease,
  aliases: readonly string[] = [home.description.aliases.release],
): Promise<StoredRelease> {
  const keys = await home.keys()
  const signers = await Promise.all(aliases.map((alias) => keys.documentSigner(alias)))
  const signatures = await signManifest(release.bytes, signers, release.signatures)
  await writeFileAtomic(join(release.folder, releaseFiles.signatures), signatures)
  return { ...release, signatures }
}

/** What a head says beside the release it pins. */
export interface HeadPlan {
  readonly nowMs: number
  /** Days it is valid, at most 7; default 7. */
  readonly days?: number
  /** What those outside a rollout get. */
  readonly fallback?: StoredRelease | undefined
  readonly rollout?: Rollout | undefined
  readonly mirrors?: readonly Mirror[] | undefined
  /** Withdrawn releases; default: those of the last head. */
  readonly revoked?: Head['revoked'] | undefined
  /** Keys that sign; default: the head key in force. */
  readonly aliases?: readonly string[]
  /** Lowest sequence it may get, when a server has seen higher ones than this home. */
  readonly atLeastSequence?: number
}

/**
 * Signs the next head of a channel: pins one release, names the log and role document in force.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when the release is not signed.
 */
export async function issueHead(home: HomeSession, release: StoredRelease, plan: HeadPlan): Promise<StoredHead> {
  const { description, paths } = home
  const channel = release.manifest.channel ?? description.channel
  if (release.signatures === undefined) {
    throw new PublisherError('CLI_TURN_UNREADY', `Release ${release.manifest.version} is not signed yet`, {
      hint: 'Run "keyturn release sign"',
    })
  }
  const last = await readStoredHead(paths, channel)
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  const roles = await rolesInForce(paths, description.identity.prefix)
  const head: Head = {
    product: description.product,
    channel,
    epoch: roles.document.epoch,
    sequence: Math.max((last?.head.sequence ?? 0) + 1, plan.atLeastSequence ?? 1),
    issuedAt: daysFrom(plan.nowMs, 0),
    expiresAt: daysFrom(plan.nowMs, plan.days ?? 7),
    log: log.state.lastEstablishment,
    rolesVersion: roles.document.version,
    manifest: pin(release),
    ...(plan.fallback === undefined ? {} : { fallback: pin(plan.fallback) }),
    ...(plan.rollout === undefined ? {} : { rollout: plan.rollout }),
    revoked: plan.revoked ?? last?.head.revoked ?? [],
    mirrors: plan.mirrors ?? last?.head.mirrors ?? [],
  }
  const keys = await home.keys()
  const signers = await Promise.all(
    (plan.aliases ?? [description.aliases.head]).map((alias) => keys.documentSigner(alias)),
  )
  const bytes = await signHead(writeHead(head), signers)
  await storeHead(paths, channel, bytes)
  return { head, bytes }
}

function pin({ manifest, sha256, bytes }: StoredRelease): Head['manifest'] {
  return manifestPin(manifest, sha256, bytes.length)
}
