import { readdir } from 'node:fs/promises'
import type { PreloadPin } from '@keyturn/manifest'
import { isMissing, pathExists } from '@keyturn/primitives/node'
import { activeContentKey } from '../home.ts'
import type { HomeDescription } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readBackupMark } from '../records/backup-mark.ts'
import { readPublishedHead, readStoredHead, readWaitingHead } from '../records/heads.ts'
import { killedKeys } from '../release/kill.ts'
import { readIdentityLog, readReleases, readRoles } from '../records/store.ts'
import { releaseState, stateText } from '../records/state.ts'
import type { StoredRelease, StoredRoles } from '../records/store.ts'
import { pendingRotations } from '../rotation/journal.ts'
import { documentDue, keyDue } from './due.ts'
import type { DueDate } from './due.ts'
import { masterItems } from './master-items.ts'
import { identityItem, namedStatus } from './named-identities.ts'
import type { NamedStatus } from './named-identities.ts'
import { statusItem } from './status-item.ts'
import type { StatusItem } from './status-item.ts'
import { transportItems } from './transport-items.ts'

/** Everything `keyturn status` reports. */
export interface HomeStatus {
  readonly product: string
  readonly prefix: string
  readonly sn: number
  readonly roles_version: number
  readonly next_key_file: string
  readonly next_key_at_hand: boolean
  readonly items: readonly StatusItem[]
  readonly channels: readonly ChannelStatus[]
  /** Rotations that were interrupted. */
  readonly pending: readonly string[]
  /** Those of `keyturn id init`. */
  readonly identities: readonly NamedStatus[]
  /** When a backup was made last, ISO 8601; undefined: never. */
  readonly last_backup: string | undefined
  /** A home for CI: it has no identity key, and nothing to back up. */
  readonly for_ci: boolean
}

/** What a channel offers, as this home knows it. */
export interface ChannelStatus {
  readonly channel: string
  readonly releases: number
  readonly offered: string | undefined
  readonly head_sequence: number | undefined
  /** Of the release on offer, in the words of `release list`: `rolling out 20 %`. */
  readonly state: string | undefined
  /** What those who do not get it are offered. */
  readonly others: string | undefined
  /** A release whose head was signed and never published. */
  readonly waiting: string | undefined
}

/** Days before their end in which documents are to be renewed. */
const renewDays = { roles: 30, head: 3, manifest: 30 } as const

/**
 * Collects what is in force and when it is due; needs no passphrase, only public files.
 *
 * @param home - Open home.
 * @param nowMs - Now.
 */
export async function collectStatus(home: HomeSession, nowMs: number): Promise<HomeStatus> {
  const { description, paths } = home
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  const roles = await readRoles(paths, description.identity.prefix)
  const channels = await channelNames(home)
  const named = await namedStatus(paths.folder, description, nowMs)
  const isForCi = description.bundle !== undefined
  const items = [
    ...contentItems(description, nowMs),
    // A home for CI has none of these keys, and nobody rotates them there.
    ...(isForCi ? [] : [ownItem(description, roles, log.state.publicKeys[0], nowMs)]),
    ...named.items,
    ...roleItems(description, roles, await killedKeys(home), nowMs),
    archiveSigningItem(description, nowMs),
    ...(isForCi ? [] : await transportItems(home, roles, nowMs)),
    ...(isForCi ? [] : await masterItems(home, nowMs)),
    rolesItem(roles, nowMs),
  ]
  const found: ChannelStatus[] = []
  for (const channel of channels) {
    const releases = await readReleases(paths, channel)
    const head = await readStoredHead(paths, channel)
    found.push(await channelStatus(home, channel, releases, nowMs))
    if (head !== undefined) items.push(headItem(channel, head.head.expiresAt, head.head.sequence, nowMs))
    if (head?.head.preload !== undefined) items.push(scheduledItem(channel, head.head.preload, nowMs))
    const offered = releases.find(({ manifest }) => manifest.version === head?.head.manifest.version)
    if (offered?.manifest.expiresAt !== undefined)
      items.push(manifestItem(channel, offered.manifest.version, offered.manifest.expiresAt, nowMs))
  }
  return {
    product: description.product,
    prefix: description.identity.prefix,
    sn: log.state.sn,
    roles_version: roles.length,
    next_key_file: home.nextKeyFile,
    next_key_at_hand: await pathExists(home.nextKeyFile),
    items,
    channels: found,
    pending: await pendingRotations(paths.journals),
    identities: named.identities,
    last_backup: await lastBackup(paths.folder),
    for_ci: isForCi,
  }
}

async function lastBackup(folder: string): Promise<string | undefined> {
  const madeMs = await readBackupMark(folder)
  return madeMs === undefined ? undefined : new Date(madeMs).toISOString()
}

/** The same words as `release list`, for the release on offer. */
async function channelStatus(
  { paths }: HomeSession,
  channel: string,
  releases: readonly StoredRelease[],
  nowMs: number,
): Promise<ChannelStatus> {
  const last = (await readStoredHead(paths, channel))?.head
  const shown = (await readPublishedHead(paths, channel))?.head
  const waiting = (await readWaitingHead(paths, channel))?.head
  const { manifest, rollout, fallback } = shown ?? {}
  const state =
    manifest === undefined ? undefined : stateText(releaseState({ ...manifest, signed: true }, shown, nowMs), shown)
  return {
    channel,
    releases: releases.length,
    offered: last?.manifest.version,
    head_sequence: last?.sequence,
    state,
    others: rollout === undefined ? undefined : fallback?.version,
    waiting: waiting?.manifest.version,
  }
}

async function channelNames(home: HomeSession): Promise<string[]> {
  const named = await readdir(home.paths.releases).catch((error: NodeJS.ErrnoException): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  return named.filter((name) => !name.startsWith('.')).toSorted()
}

/**
 * Clients ship verifiers of every content key still listed: an old one opens what they have until its archives are
 * gone.
 */
function contentItems(description: HomeDescription, nowMs: number): StatusItem[] {
  const active = activeContentKey(description)
  return description.contentKeys.map(({ keyId, commitment, status, created }) => {
    const sinceMs = Date.parse(created)
    const due = keyId === active.keyId ? keyDue('content', sinceMs, description, nowMs) : undefined
    return statusItem(
      {
        kind: 'content',
        id: `key_id ${keyId}`,
        name: commitment.slice(0, 16),
        state: status,
        sinceMs,
        due,
        mend: 'keyturn rotate content',
      },
      nowMs,
    )
  })
}

function ownItem(
  description: HomeDescription,
  roles: readonly StoredRoles[],
  publicKey: Uint8Array | undefined,
  nowMs: number,
): StatusItem {
  const { alias } = description.identity
  const sinceMs = sinceOf(description, alias) ?? lastIssued(roles)
  return identityItem({ alias, publicKey, sinceMs, rotation: 'keyturn rotate identity' }, description, nowMs)
}

function roleItems(
  description: HomeDescription,
  roles: readonly StoredRoles[],
  killed: readonly string[],
  nowMs: number,
): StatusItem[] {
  const inForce = roles.at(-1)?.document
  if (inForce === undefined) return []
  const items: StatusItem[] = []
  for (const role of ['release', 'head'] as const) {
    for (const key of inForce.roles[role].keys) {
      const first = roles.find(({ document }) => document.roles[role].keys.includes(key))
      const sinceMs = first === undefined ? undefined : Date.parse(first.document.issuedAt)
      items.push(
        statusItem(
          {
            kind: role,
            id: description.aliases[role],
            name: shortKey(key),
            sinceMs,
            // Nothing new reaches a launcher until another key is in force.
            ...(killed.includes(key)
              ? { state: 'killed' as const, due: { atMs: nowMs, state: 'due' as const } }
              : { due: dueOf(role, sinceMs, description, nowMs) }),
            mend: `keyturn rotate ${role}`,
          },
          nowMs,
        ),
      )
    }
  }
  for (const key of inForce.revokedKeys)
    items.push(statusItem({ kind: 'revoked', id: '', name: shortKey(key), state: 'revoked', mend: '' }, nowMs))
  return items
}

/** Its public half is in clients and manifests; it rotates together with the content key that it vouches for. */
function archiveSigningItem(description: HomeDescription, nowMs: number): StatusItem {
  const alias = description.aliases.archiveSigning
  const name = shortKey(activeContentKey(description).verifierPub)
  const sinceMs = sinceOf(description, alias)
  const due = dueOf('archiveSigning', sinceMs, description, nowMs)
  return statusItem(
    { kind: 'archive-signing', id: alias, name, sinceMs, due, mend: 'keyturn rotate content --signing-key' },
    nowMs,
  )
}

function rolesItem(roles: readonly StoredRoles[], nowMs: number): StatusItem {
  const document = roles.at(-1)?.document
  const due = document === undefined ? undefined : documentDue(Date.parse(document.expiresAt), renewDays.roles, nowMs)
  return statusItem(
    {
      kind: 'roles',
      id: `role document ${document?.version ?? 0}`,
      name: `epoch ${document?.epoch ?? 0}`,
      sinceMs: lastIssued(roles),
      due,
      mend: 'keyturn rotate release',
    },
    nowMs,
  )
}

/** What a head in force comes to. */
export function headItem(channel: string, expiresAt: string, sequence: number, nowMs: number): StatusItem {
  return statusItem(
    {
      kind: 'head-document',
      id: channel,
      name: `sequence ${sequence}`,
      due: documentDue(Date.parse(expiresAt), renewDays.head, nowMs),
      mend: `keyturn release renew --channel ${channel}`,
    },
    nowMs,
  )
}

/** A scheduled release; `due` once its hour has come and nothing has opened it. */
function scheduledItem(channel: string, { version, at }: PreloadPin, nowMs: number): StatusItem {
  // Renewing the head of the channel is what opens it.
  const head = headItem(channel, at, 0, nowMs)
  const isDue = nowMs >= Date.parse(at)
  return { ...head, kind: 'scheduled', name: version, state: 'next', due_state: isDue ? 'due' : 'ok' }
}

function manifestItem(channel: string, version: string, expiresAt: string, nowMs: number): StatusItem {
  return statusItem(
    {
      kind: 'manifest',
      id: channel,
      name: version,
      due: documentDue(Date.parse(expiresAt), renewDays.manifest, nowMs),
      mend: `keyturn release prepare --channel ${channel} <tree>`,
    },
    nowMs,
  )
}

function dueOf(
  kind: Parameters<typeof keyDue>[0],
  sinceMs: number | undefined,
  description: HomeDescription,
  nowMs: number,
): DueDate | undefined {
  return sinceMs === undefined ? undefined : keyDue(kind, sinceMs, description, nowMs)
}

function sinceOf(description: HomeDescription, alias: string): number | undefined {
  const text = description.since?.[alias]
  return text === undefined ? undefined : Date.parse(text)
}

function lastIssued(roles: readonly StoredRoles[]): number | undefined {
  const document = roles.at(-1)?.document
  return document === undefined ? undefined : Date.parse(document.issuedAt)
}

function shortKey(hex: string): string {
  return hex.slice(0, 16)
}
