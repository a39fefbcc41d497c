import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { equalBytes } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { HomePaths } from '../home.ts'
import { isChannelName } from '../names.ts'
import { readIfThere } from './store.ts'

/** What a channel offers: all of a head but its number, its dates and its place in the log. */
export type Offer = Pick<Head, 'manifest' | 'fallback' | 'rollout' | 'preload' | 'revoked' | 'mirrors'>

/** A signed head with its literal bytes. */
export interface StoredHead {
  readonly head: Head
  /** Literal bytes of `head.json`. */
  readonly bytes: Uint8Array
}

/** A head as it is kept in a home. */
export interface OwnHead extends StoredHead {
  /** A server accepted it, or it was exported: launchers may have seen it. */
  readonly published: boolean
}

/** Takes a signed head apart; its signatures are not looked at. */
export function readHeadBytes(bytes: Uint8Array): StoredHead {
  return { bytes, head: parseHead(parseHeadEnvelope(bytes).payload) }
}

const HEAD_SUFFIX = '.json'

/** No channel has a dot in its name. */
const waitingFile = (paths: HomePaths, channel: string): string => join(paths.heads, `${channel}.waiting.json`)
const publishedFile = (paths: HomePaths, channel: string): string => join(paths.heads, `${channel}.json`)

/** The head that launchers of a channel were last shown from here; undefined before the first. */
export async function readPublishedHead(paths: HomePaths, channel: string): Promise<StoredHead | undefined> {
  const bytes = await readIfThere(publishedFile(paths, channel))
  return bytes === undefined ? undefined : readHeadBytes(bytes)
}

/** Channels on which this home published a head. */
export async function readPublishedChannels(paths: HomePaths): Promise<string[]> {
  const names = await readdir(paths.heads).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names
    .filter((name) => name.endsWith(HEAD_SUFFIX))
    .map((name) => name.slice(0, -HEAD_SUFFIX.length))
    .filter(isChannelName)
    .toSorted()
}

/** Channels on which this home published a head, and its own channel, where a first one may wait. */
export async function offeringChannels(paths: HomePaths, own: string): Promise<string[]> {
  return [...new Set([own, ...(await readPublishedChannels(paths))])]
}

/** The head of a channel that is signed and was never published. */
export async function readWaitingHead(paths: HomePaths, channel: string): Promise<StoredHead | undefined> {
  const bytes = await readIfThere(waitingFile(paths, channel))
  if (bytes === undefined) return undefined
  // A crash between the two steps of noteHeadPublished() leaves both.
  const published = await readIfThere(publishedFile(paths, channel))
  return published !== undefined && equalBytes(published, bytes) ? undefined : readHeadBytes(bytes)
}

/** The head that was signed last for a channel, published or not; undefined before the first. */
export async function readStoredHead(paths: HomePaths, channel: string): Promise<OwnHead | undefined> {
  const waiting = await readWaitingHead(paths, channel)
  if (waiting !== undefined) return { ...waiting, published: false }
  const published = await readPublishedHead(paths, channel)
  return published === undefined ? undefined : { ...published, published: true }
}

/** Keeps a head that was signed, until it is published. */
export async function storeHead(paths: HomePaths, channel: string, bytes: Uint8Array): Promise<void> {
  await mkdir(paths.heads, { recursive: true })
  await writeFileAtomic(waitingFile(paths, channel), bytes)
}

/** Notes that launchers may see a head from now on; one that waited with the same bytes waits no more. */
export async function noteHeadPublished(paths: HomePaths, channel: string, bytes: Uint8Array): Promise<void> {
  await mkdir(paths.heads, { recursive: true })
  await writeFileAtomic(publishedFile(paths, channel), bytes)
  const waiting = await readIfThere(waitingFile(paths, channel))
  if (waiting !== undefined && equalBytes(waiting, bytes)) await rm(waitingFile(paths, channel), { force: true })
}

/** Forgets the head of a channel that was signed and never published. */
export async function dropWaitingHead(paths: HomePaths, channel: string): Promise<void> {
  await rm(waitingFile(paths, channel), { force: true })
}
