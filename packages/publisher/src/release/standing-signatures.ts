import { parseHeadEnvelope } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { addHeadSignature } from '@keyturn/manifest/publish'
import { hexEncode, KeyturnError } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { noteHeadPublished, readPublishedChannels, readPublishedHead } from '../records/heads.ts'
import type { StoredHead } from '../records/heads.ts'
import { readReleases, rolesInForce } from '../records/store.ts'
import { roleAliases } from './sign-release.ts'

/**
 * Signs again, before a log that changes who may sign, everything else that players are offered: the heads and releases
 * of other channels, and what those outside a rollout get. A server takes no log that would leave one of them without
 * valid signatures. The signatures that are there stay beside the new ones, so nothing changes until the log comes.
 *
 * @param home - Open home; asks for the passphrase when a head has to be signed.
 * @param client - Its server.
 * @param head - What is published with the log.
 */
export async function renewStanding(home: HomeSession, client: ReleaseServerClient, head: Head): Promise<void> {
  if (head.fallback !== undefined) await sendSignatures(home, client, head.channel, [head.fallback.sha256])
  for (const channel of await readPublishedChannels(home.paths)) {
    const standing = channel === head.channel ? undefined : await readPublishedHead(home.paths, channel)
    if (standing === undefined) continue
    const { manifest, fallback } = standing.head
    await sendSignatures(home, client, channel, [manifest.sha256, fallback?.sha256])
    await sendHeadSignatures(home, client, standing)
  }
}

/**
 * The heads of other channels that count under the log of this home and not before it, as after a server was restored
 * from a backup that is older than a rotation.
 *
 * @param home - Open home.
 * @param client - Its server.
 * @param channel - The one whose head comes with the log.
 * @returns Undefined when a channel of the server has no such head here: then the log would leave it without one.
 */
export async function headsOfNewLog(
  { paths, description: { identity, product } }: HomeSession,
  client: ReleaseServerClient,
  channel: string,
): Promise<StoredHead[] | undefined> {
  const { document } = await rolesInForce(paths, identity.prefix)
  const found: StoredHead[] = []
  for (const shown of await client.listChannels(product)) {
    if (shown.channel === channel || shown.head === null) continue
    const standing = await readPublishedHead(paths, shown.channel)
    const isNewer = standing !== undefined && standing.head.sequence > shown.head.sequence
    if (!isNewer || standing.head.rolesVersion !== document.version) return undefined
    found.push(standing)
  }
  return found
}

async function sendSignatures(
  { paths, description: { product } }: HomeSession,
  client: ReleaseServerClient,
  channel: string,
  pins: readonly (string | undefined)[],
): Promise<void> {
  for (const { sha256, manifest, signatures } of await readReleases(paths, channel)) {
    if (signatures === undefined || !pins.includes(sha256)) continue
    await leaveToServer(async () => {
      const known = await client.getRelease(product, channel, manifest.version)
      if (known?.sha256 === sha256) await client.putSignatures(product, channel, manifest.version, { signatures })
    })
  }
}

/** The same head under the keys that come: it keeps its number, and launchers that have it take it again. */
async function sendHeadSignatures(
  home: HomeSession,
  client: ReleaseServerClient,
  { head, bytes }: StoredHead,
): Promise<void> {
  const keys = await home.keys()
  const signers = await Promise.all((await roleAliases(home, 'head')).map((alias) => keys.documentSigner(alias)))
  const signed = new Set(parseHeadEnvelope(bytes).signatures.map(({ keyid }) => keyid))
  const missing = signers.filter(({ publicKey }) => !signed.has(hexEncode(publicKey)))
  if (missing.length === 0) return
  const renewed = await addHeadSignature(bytes, missing)
  const { channel, manifest } = head
  await leaveToServer(async () => {
    await client.publish(home.description.product, channel, { version: manifest.version, head: renewed })
    await noteHeadPublished(home.paths, channel, renewed)
  })
}

/** A token for one channel, or signatures that count under the new log alone: the server verifies that log itself. */
async function leaveToServer(send: () => Promise<void>): Promise<void> {
  try {
    await send()
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.kind === 'unavailable') throw error
  }
}
