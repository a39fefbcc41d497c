import { sha256DigestSeal } from '@keyturn/kel'
import { buildInteraction, buildRotation, collectSignatures } from '@keyturn/kel/owner'
import type { KeyState } from '@keyturn/kel'
import { parseManifest } from '@keyturn/manifest'
import { manifestPin, signHead, signManifest, writeHead, writeManifest, writeRoles } from '@keyturn/manifest/publish'
import {
  sha256Hex,
  base64urlEncode,
  concatBytes,
  ed25519PublicKey,
  hexEncode,
  systemRandom,
  utf8Encode,
} from '@keyturn/primitives'
import type { RoleDocument } from '@keyturn/manifest'
import type { HomeSession } from '@keyturn/publisher'
import { readIdentityLog, rolesInForce } from '@keyturn/publisher/records'
import type { StoredHead, StoredRelease } from '@keyturn/publisher/records'
import type { Tamper } from './stage.ts'

/**
 * What a thief of the old release key can make: a new manifest under that key. To make it harder, they are given a head
 * of the genuine head key that pins it.
 *
 * @param home - Home of the victim.
 * @param release - The release in force.
 * @param head - The head in force.
 * @param theft - Keystore alias of the stolen key, and how far the forged documents count ahead.
 */
export async function forgedManifest(
  home: HomeSession,
  release: StoredRelease,
  head: StoredHead,
  { oldKey, ahead = 1 }: { readonly oldKey: string; readonly ahead?: number },
): Promise<Tamper> {
  const keys = await home.keys()
  const version = `${release.manifest.version}1`
  const sequence = (release.manifest.sequence ?? 0) + ahead
  const manifest = writeManifest({
    ...parseManifest(release.bytes),
    version,
    sequence,
    notes: 'Not from the publisher',
  })
  const signatures = await signManifest(manifest, [await keys.documentSigner(oldKey)])
  const pin = manifestPin({ ...release.manifest, version, sequence }, sha256Hex(manifest), manifest.length)
  const forgedHead = await signHead(writeHead({ ...head.head, sequence: head.head.sequence + ahead, manifest: pin }), [
    await keys.documentSigner(home.description.aliases.head),
  ])
  return (path) => {
    if (path.endsWith('/head.json') || path === 'head.json') return forgedHead
    if (path.endsWith(`/manifests/${version}.json`)) return manifest
    return path.endsWith(`/manifests/${version}.sigs.json`) ? signatures : undefined
  }
}

/** Role document of a thief, who names a key of their own in every role. */
function thiefRoles(document: RoleDocument): RoleDocument {
  const own = (): string[] => [hexEncode(ed25519PublicKey(systemRandom(32)))]
  return {
    ...document,
    version: document.version + 1,
    revokedKeys: [],
    transport: [],
    roles: { release: { keys: own(), threshold: 1 }, head: { keys: own(), threshold: 1 } },
  }
}

/**
 * What a thief of an identity key that was rotated away can make: a rotation to keys of their own that seals a role
 * document of their own, signed by the stolen key.
 */
export async function forgedRotation(home: HomeSession, oldKey: string): Promise<Tamper> {
  const { bytes, log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const roles = thiefRoles((await rolesInForce(home.paths, log.prefix)).document)
  const rolesBytes = writeRoles(roles)
  const keys = await home.keys()
  const stolen = await keys.publicKey(oldKey)
  const { body } = buildRotation(log.state, {
    keys: [stolen],
    nextKeys: [ed25519PublicKey(systemRandom(32))],
    seals: [sha256DigestSeal(rolesBytes)],
  })
  const [signature] = await collectSignatures(body, [stolen], await keys.eventSigner([oldKey]))
  const forged = concatBytes(bytes, body, oneSignature(signature?.signature))
  return logAndRoles(log.prefix, forged, roles.version, rolesBytes)
}

/**
 * What a thief of the current identity key can make: an interaction event that seals a role document of their own.
 * Interactions are the one thing that key signs alone.
 */
export async function forgedInteraction(home: HomeSession, currentKey: string): Promise<Tamper> {
  const { bytes, log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const roles = thiefRoles((await rolesInForce(home.paths, log.prefix)).document)
  const rolesBytes = writeRoles(roles)
  // The honest builder refuses; the thief's does not look at the trait.
  const blind: KeyState = { ...log.state, traits: [] }
  const { body } = buildInteraction(blind, [sha256DigestSeal(rolesBytes)])
  const keys = await home.keys()
  const signer = await keys.eventSigner([currentKey])
  const [signature] = await collectSignatures(body, signer.publicKeys, signer)
  return logAndRoles(
    log.prefix,
    concatBytes(bytes, body, oneSignature(signature?.signature)),
    roles.version,
    rolesBytes,
  )
}

/**
 * What a thief of the head key can make: a later head that offers a release of before once more.
 *
 * @param home - Home of the victim.
 * @param head - The head at the time of the theft.
 * @param ahead - How far it counts ahead.
 */
export async function forgedHead(home: HomeSession, head: StoredHead, ahead: number): Promise<Tamper> {
  const keys = await home.keys()
  const forged = await signHead(writeHead({ ...head.head, sequence: head.head.sequence + ahead }), [
    await keys.documentSigner(home.description.aliases.head),
  ])
  return (path) => (path === 'head.json' || path.endsWith('/head.json') ? forged : undefined)
}

/** The log and the role document in force at the time of a theft: what a thief shows so that nobody sees newer ones. */
export async function oldLog(home: HomeSession): Promise<Tamper> {
  const { bytes, log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const roles = await rolesInForce(home.paths, log.prefix)
  return logAndRoles(log.prefix, bytes, roles.document.version, roles.bytes)
}

function logAndRoles(prefix: string, log: Uint8Array, version: number, roles: Uint8Array): Tamper {
  return (path) => {
    if (path.endsWith(`kel/${prefix}.cesr`)) return log
    return path.endsWith(`roles/${version}.json`) ? roles : undefined
  }
}

/** A CESR group with the signature of key 0, written by hand: no library would attach these. */
function oneSignature(signature: Uint8Array | undefined): Uint8Array {
  if (signature === undefined) throw new TypeError('The forged event was not signed')
  return utf8Encode(`-AAB${base64urlEncode(concatBytes(new Uint8Array(2), signature))}`)
}

/** Flips one bit in the middle of every answer whose path matches. */
export function flippedByte(matches: (path: string) => boolean): Tamper {
  return (path, body) => {
    if (body === undefined || body.length === 0 || !matches(path)) return undefined
    const changed = body.slice()
    const at = changed.length >> 1
    changed[at] = (changed[at] ?? 0) ^ 1
    return changed
  }
}

/** Serves an old head again, with everything it pins still on the server. */
export function staleHead(old: Uint8Array): Tamper {
  return (path) => (path === 'head.json' || path.endsWith('/head.json') ? old : undefined)
}
