import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keyCommitment } from '@keyturn/m2pack-format'
import { nextVersion } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import { activeContentKey, keyAlias } from '../home.ts'
import type { HomeContentKey } from '../home.ts'
import { turnedBytes } from '../release/archive-facts.ts'
import type { HomeSession } from '../home-session.ts'
import { prepareRelease } from '../release/prepare-release.ts'
import { publishRelease } from '../release/publish-release.ts'
import { runtimeKeyFile, writeRuntimeKeyFile } from '../release/runtime-key-file.ts'
import { issueHead, signRelease } from '../release/sign-release.ts'
import { findRelease, readReleases } from '../release/store.ts'
import type { StoredRelease } from '../release/store.ts'
import { turnTree } from '../release/rotate-tree.ts'
import type { TurnStep } from './journal.ts'

/** What a turn of the content key is told. */
export interface ContentTurnOptions {
  readonly channel: string
  /** The server to publish to; without it the new release waits in the home. */
  readonly client?: ReleaseServerClient | undefined
  /** Encrypt every payload anew, for a content key that was stolen: players download every archive. */
  readonly full?: boolean
  readonly nowMs: number
  readonly signal: AbortSignal
}

/** What a turn of the content key will do, before anything is done. */
export interface ContentTurnPlan {
  readonly from: number
  readonly to: number
  readonly slot: number
  /** Release whose archives are rewrapped; undefined when there is none yet. */
  readonly release: StoredRelease | undefined
  readonly nextVersion: string | undefined
  /** Every payload is encrypted anew. */
  readonly full: boolean
  /** What a player who has that release downloads at most: header, slots and index of each archive; small ones whole. */
  readonly downloadBytesAtMost: number
}

const CHUNK_BYTES_AT_MOST = 2 * 256 * 1024

/**
 * Works out a turn of the content key.
 *
 * @param home - Open home.
 * @param options - Channel and time.
 * @param pending - Facts of a turn that was interrupted: it goes on with the numbers it began with.
 */
export async function planContentTurn(
  home: HomeSession,
  options: ContentTurnOptions,
  pending?: JsonObject,
): Promise<ContentTurnPlan> {
  const { description } = home
  const { channel, nowMs } = options
  const begun = pending?.['to'] === undefined ? undefined : pending
  const release = begun === undefined ? (await readReleases(home.paths, channel)).at(-1) : await releaseOf(home, begun)
  const following = release === undefined ? undefined : nextVersion(nowMs, release.manifest.version)
  const full = begun === undefined ? options.full === true : begun['full'] === true
  return {
    full,
    from: begun === undefined ? activeContentKey(description).keyId : Number(begun['from']),
    to: begun === undefined ? Math.max(...description.contentKeys.map(({ keyId }) => keyId)) + 1 : Number(begun['to']),
    slot: begun === undefined ? Math.max(0, ...description.slots) + 1 : Number(begun['slot']),
    release,
    nextVersion: begun === undefined ? following : textOf(begun['version']),
    downloadBytesAtMost: release === undefined ? 0 : await downloadBytes(release, full),
  }
}

async function downloadBytes({ manifest, tree }: StoredRelease, full: boolean): Promise<number> {
  let sum = 0
  for (const { path, size, keyId, index } of manifest.files) {
    if (keyId === undefined) continue
    if (full) {
      // Other bytes throughout; the same amount but for paddings.
      sum += size + (index?.size ?? 0)
      continue
    }
    const file = join(tree, path)
    const turned = index !== undefined && (await pathExists(file)) ? await turnedBytes(file, size) : CHUNK_BYTES_AT_MOST
    sum += index === undefined ? size : Math.min(size, turned + index.size)
  }
  return sum
}

async function releaseOf(home: HomeSession, facts: JsonObject): Promise<StoredRelease | undefined> {
  const base = textOf(facts['base'])
  return base === undefined ? undefined : await findRelease(home.paths, String(facts['channel']), base)
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/**
 * The steps of a turn of the content key: a new key and slot, every archive of the current release rewrapped (payloads
 * stay), a new release signed and published. Whoever had the old key still opens what he has; what is new is closed to him.
 *
 * @param home - Open home, locked.
 * @param plan - From {@link planContentTurn}; the journal's facts win over it when a turn is taken up.
 * @param options - Channel, server, time.
 */
export function contentTurnSteps(home: HomeSession, plan: ContentTurnPlan, options: ContentTurnOptions): TurnStep[] {
  const { channel, client, nowMs, signal } = options
  const keySteps: TurnStep[] = [
    {
      name: 'plan',
      title: `turn content key ${plan.from} to ${plan.to}`,
      run: async () => ({
        from: plan.from,
        to: plan.to,
        slot: plan.slot,
        at: nowMs,
        channel,
        full: plan.full,
        ...(plan.release === undefined ? {} : { base: plan.release.manifest.version, version: plan.nextVersion ?? '' }),
      }),
    },
    { name: 'key', title: `make content key ${plan.to} and slot ${plan.slot}`, run: (facts) => makeKey(home, facts) },
    { name: 'home', title: 'put the new key in force', run: (facts) => putInForce(home, facts) },
  ]
  const releaseSteps: TurnStep[] = [
    {
      name: 'archives',
      title: plan.full ? 'encrypt every archive anew' : 'rewrap the archives',
      run: (facts) => turnArchives(home, facts, signal),
    },
    { name: 'manifest', title: 'make the manifest', run: (facts) => describe(home, facts, signal) },
    {
      name: 'sign',
      title: 'sign the manifest',
      run: async (facts) => {
        await signRelease(home, await turned(home, facts))
        return undefined
      },
    },
    {
      name: 'head',
      title: 'sign the head',
      run: async (facts) => {
        await issueHead(home, await turned(home, facts), { nowMs })
        return undefined
      },
    },
    ...(client === undefined
      ? []
      : [{ name: 'publish', title: 'publish', run: (facts: JsonObject) => publish(home, client, facts, options) }]),
  ]
  return plan.release === undefined ? keySteps : [...keySteps, ...releaseSteps]
}

async function makeKey(home: HomeSession, facts: JsonObject): Promise<JsonObject> {
  const keys = await home.keys()
  const keyId = Number(facts['to'])
  await keys.make(keyAlias.content(keyId), 'content')
  await keys.make(keyAlias.slot(Number(facts['slot'])), 'slot')
  const commitment = await keys.lend(keyAlias.content(keyId), (key) => keyCommitment({ keyId, key }))
  const verifier = await keys.publicKey(home.description.aliases.archiveSigning)
  return { commitment: hexEncode(commitment), verifier: hexEncode(verifier) }
}

async function putInForce(home: HomeSession, facts: JsonObject): Promise<undefined> {
  const keyId = Number(facts['to'])
  const { contentKeys, slots } = home.description
  if (contentKeys.some((key) => key.keyId === keyId)) return undefined
  const fresh: HomeContentKey = {
    keyId,
    verifierPub: String(facts['verifier']),
    commitment: String(facts['commitment']),
    status: 'active',
    created: new Date(Number(facts['at'])).toISOString(),
  }
  const older = contentKeys.map((key): HomeContentKey =>
    key.status === 'active' ? { ...key, status: 'retired' } : key,
  )
  await home.update({ contentKeys: [...older, fresh], slots: [...slots, Number(facts['slot'])] })
  return undefined
}

async function turnArchives(home: HomeSession, facts: JsonObject, signal: AbortSignal): Promise<JsonObject> {
  const channel = String(facts['channel'])
  const base = await findRelease(home.paths, channel, String(facts['base']))
  const tree = join(home.paths.trees, channel, String(facts['version']))
  // Files of an interrupted attempt are made again: they are cheap, and half of them may be missing.
  await rm(tree, { recursive: true, force: true })
  const turn = { keyId: Number(facts['to']), slot: Number(facts['slot']), full: facts['full'] === true }
  const { archives, bytes } = await turnTree(home, base.tree, tree, turn, signal)
  if (await pathExists(join(base.tree, runtimeKeyFile)))
    await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
  return { archives, bytes, tree }
}

async function describe(home: HomeSession, facts: JsonObject, signal: AbortSignal): Promise<undefined> {
  const channel = String(facts['channel'])
  const version = String(facts['version'])
  if ((await readReleases(home.paths, channel)).some(({ manifest }) => manifest.version === version)) return undefined
  const base = await findRelease(home.paths, channel, String(facts['base']))
  const { notes, minLauncherVersion, format } = base.manifest
  await prepareRelease(home, {
    tree: String(facts['tree']),
    channel,
    version,
    notes,
    minLauncherVersion,
    format,
    nowMs: Number(facts['at']),
    signal,
  })
  return undefined
}

async function publish(
  home: HomeSession,
  client: ReleaseServerClient,
  facts: JsonObject,
  { nowMs, signal }: ContentTurnOptions,
): Promise<JsonObject> {
  const release = await turned(home, facts)
  const head = await issueHead(home, release, { nowMs })
  const { bytes } = await publishRelease(home, client, release, head, { signal })
  return { uploaded: bytes }
}

async function turned(home: HomeSession, facts: JsonObject): Promise<StoredRelease> {
  const version = facts['version']
  if (typeof version !== 'string')
    throw new PublisherError('CLI_TURN_JOURNAL', 'The journal of the turn names no version')
  return await findRelease(home.paths, String(facts['channel']), version)
}
