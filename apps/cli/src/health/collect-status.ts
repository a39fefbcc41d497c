import { readdir } from 'node:fs/promises'
import { hexEncode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { activeContentKey, type HomeDescription } from '../home.ts'
import type { HomeSession } from '../publisher/home-session.ts'
import { readIdentityLog, readReleases, readRoles, readStoredHead, type StoredRoles } from '../publisher/store.ts'
import { pendingTurns } from '../turn/journal.ts'
import { daysBetween, documentDue, keyDue, type DueDate, type DueState } from './due.ts'

/** One key or document of a home, with its place in time. */
export interface StatusItem {
  /** `content`, `identity`, `release`, `head`, `transport`, `roles`, `head-document`, `manifest`. */
  readonly kind: string
  /** Which one: an alias, a key_id, a channel. */
  readonly id: string
  /** Public key, fingerprint or version: what tells it from others. */
  readonly name: string
  readonly state: 'active' | 'retired' | 'revoked'
  /** ISO 8601; undefined when it is not known. */
  readonly since: string | undefined
  readonly age_days: number | undefined
  readonly due: string | undefined
  readonly due_state: DueState
  /** The command that turns or renews it. */
  readonly mend: string
}

/** Everything `keyturn status` tells. */
export interface HomeStatus {
  readonly product: string
  readonly prefix: string
  readonly sn: number
  readonly roles_version: number
  readonly next_key_file: string
  readonly next_key_at_hand: boolean
  readonly items: readonly StatusItem[]
  readonly channels: readonly { readonly channel: string; readonly releases: number; readonly offered: string | undefined; readonly head_sequence: number | undefined }[]
  /** Turns that were interrupted. */
  readonly pending: readonly string[]
}

/** Days before their end in which documents are to be renewed. */
const renewDays = { roles: 30, head: 2, manifest: 30 } as const

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
  const items = [
    ...contentItems(description, nowMs),
    identityItem(description, roles, log.state.publicKeys[0], nowMs),
    ...roleItems(description, roles, nowMs),
    transportItem(description, roles, nowMs),
    rolesItem(roles, nowMs),
  ]
  const found: HomeStatus['channels'][number][] = []
  for (const channel of channels) {
    const releases = await readReleases(paths, channel)
    const head = await readStoredHead(paths, channel)
    found.push({ channel, releases: releases.length, offered: head?.head.manifest.version, head_sequence: head?.head.sequence })
    if (head !== undefined) items.push(headItem(channel, head.head.expiresAt, head.head.sequence, nowMs))
    const offered = releases.find(({ manifest }) => manifest.version === head?.head.manifest.version)
    if (offered?.manifest.expiresAt !== undefined) items.push(manifestItem(channel, offered.manifest.version, offered.manifest.expiresAt, nowMs))
  }
  return {
    product: description.product, prefix: description.identity.prefix, sn: log.state.sn, roles_version: roles.length,
    next_key_file: home.nextKeyFile, next_key_at_hand: await pathExists(home.nextKeyFile),
    items, channels: found, pending: await pendingTurns(paths.journals),
  }
}

async function channelNames(home: HomeSession): Promise<string[]> {
  const named = await readdir(home.paths.releases).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return named.filter((name) => !name.startsWith('.')).toSorted()
}

function contentItems(description: HomeDescription, nowMs: number): StatusItem[] {
  const active = activeContentKey(description)
  return description.contentKeys.map((key) => {
    const since = Date.parse(key.created)
    const due = key.keyId === active.keyId ? keyDue('content', since, description, nowMs) : undefined
    return item('content', `key_id ${key.keyId}`, key.commitment.slice(0, 16), key.status, since, due, nowMs, 'keyturn rotate content')
  })
}

function identityItem(description: HomeDescription, roles: readonly StoredRoles[], publicKey: Uint8Array | undefined, nowMs: number): StatusItem {
  const { alias } = description.identity
  const since = sinceOf(description, alias) ?? lastIssued(roles)
  return item('identity', alias, shortKey(publicKey === undefined ? '' : hexEncode(publicKey)), 'active', since, dueOf('identity', since, description, nowMs), nowMs, 'keyturn rotate identity')
}

function roleItems(description: HomeDescription, roles: readonly StoredRoles[], nowMs: number): StatusItem[] {
  const inForce = roles.at(-1)?.document
  if (inForce === undefined) return []
  const items: StatusItem[] = []
  for (const role of ['release', 'head'] as const) {
    for (const key of inForce.roles[role].keys) {
      const first = roles.find(({ document }) => document.roles[role].keys.includes(key))
      const since = first === undefined ? undefined : Date.parse(first.document.issuedAt)
      items.push(item(role, description.aliases[role], shortKey(key), 'active', since, dueOf(role, since, description, nowMs), nowMs, `keyturn rotate ${role}`))
    }
  }
  for (const key of inForce.revokedKeys) items.push(item('revoked', '', shortKey(key), 'revoked', undefined, undefined, nowMs, ''))
  return items
}

function transportItem(description: HomeDescription, roles: readonly StoredRoles[], nowMs: number): StatusItem {
  const name = roles.at(-1)?.document.transport[0] ?? ''
  const first = roles.find(({ document }) => document.transport.includes(name))
  const since = sinceOf(description, description.aliases.transportIdentity) ?? (first === undefined ? undefined : Date.parse(first.document.issuedAt))
  return item('transport', description.aliases.transportIdentity, name.slice(0, 16), 'active', since, dueOf('transport', since, description, nowMs), nowMs, 'keyturn rotate transport')
}

function rolesItem(roles: readonly StoredRoles[], nowMs: number): StatusItem {
  const document = roles.at(-1)?.document
  const due = document === undefined ? undefined : documentDue(Date.parse(document.expiresAt), renewDays.roles, nowMs)
  return item('roles', `role document ${document?.version ?? 0}`, `epoch ${document?.epoch ?? 0}`, 'active', lastIssued(roles), due, nowMs, 'keyturn rotate release')
}

function headItem(channel: string, expiresAt: string, sequence: number, nowMs: number): StatusItem {
  return item('head-document', channel, `sequence ${sequence}`, 'active', undefined, documentDue(Date.parse(expiresAt), renewDays.head, nowMs), nowMs,
    `keyturn release head --channel ${channel} && keyturn release publish --channel ${channel}`)
}

function manifestItem(channel: string, version: string, expiresAt: string, nowMs: number): StatusItem {
  return item('manifest', channel, version, 'active', undefined, documentDue(Date.parse(expiresAt), renewDays.manifest, nowMs), nowMs,
    `keyturn release prepare --channel ${channel} <tree>`)
}

function item(
  kind: string, id: string, name: string, state: StatusItem['state'], sinceMs: number | undefined, due: DueDate | undefined, nowMs: number, mend: string,
): StatusItem {
  return {
    kind, id, name, state, mend,
    since: sinceMs === undefined ? undefined : new Date(sinceMs).toISOString(),
    age_days: sinceMs === undefined ? undefined : daysBetween(sinceMs, nowMs),
    due: due === undefined ? undefined : new Date(due.atMs).toISOString(),
    due_state: due?.state ?? 'ok',
  }
}

function dueOf(kind: Parameters<typeof keyDue>[0], sinceMs: number | undefined, description: HomeDescription, nowMs: number): DueDate | undefined {
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
