// A publisher with an identity, and what its server serves, in memory. Replaces `keyturn` and `keyturn-server` in
// the examples beside this file.
import { createHash } from 'node:crypto'
import { sha256DigestSeal } from '@keyturn/kel'
import { incept, seedSigner } from '@keyturn/kel/owner'
import {
  buildManifest,
  formatTime,
  manifestPin,
  signHead,
  signManifest,
  writeHead,
  writeManifest,
  writeRoles,
} from '@keyturn/manifest/publish'
import { sha256Hex, ed25519PublicKey, ed25519Sign, hexEncode } from '@keyturn/primitives'

const seed = (name: string): Uint8Array => new Uint8Array(createHash('sha256').update(name).digest())
const publicKey = (name: string): Uint8Array => ed25519PublicKey(seed(name))
const signer = (name: string) => ({
  publicKey: publicKey(name),
  sign: (message: Uint8Array) => ed25519Sign(seed(name), message),
})

const now = Date.now()
const day = 86_400_000
/** Bytes by the path they are served at. */
const served = new Map<string, Uint8Array>()

const roles = writeRoles({
  product: 'hello',
  version: 1,
  epoch: 1,
  issuedAt: formatTime(now),
  expiresAt: formatTime(now + 365 * day),
  revokedKeys: [],
  transport: [],
  roles: {
    release: { keys: [hexEncode(publicKey('release'))], threshold: 1 },
    head: { keys: [hexEncode(publicKey('head'))], threshold: 1 },
  },
})
const identity = await incept(
  { keys: [publicKey('now')], nextKeys: [publicKey('next')], traits: ['EO'], seals: [sha256DigestSeal(roles)] },
  seedSigner([seed('now')]),
)
served.set(`kel/${identity.prefix}.cesr`, identity.message)
served.set('roles/1.json', roles)

/** Signs a release with these files and serves it. */
export async function release(sequence: number, files: Readonly<Record<string, string>>): Promise<void> {
  const entries = Object.entries(files).map(([path, text]) => {
    const bytes = new TextEncoder().encode(text)
    const sha256 = sha256Hex(bytes)
    served.set(`files/${sha256.slice(0, 2)}/${sha256}`, bytes)
    return { path, sha256, size: bytes.length }
  })
  const model = buildManifest(entries, {
    version: `2026.11.21-${sequence}`,
    nowMs: now,
    release: { product: 'hello', channel: 'stable', epoch: 1, sequence, rolesVersion: 1 },
  })
  const manifest = writeManifest(model)
  served.set(`channels/stable/manifests/${model.version}.json`, manifest)
  served.set(`channels/stable/manifests/${model.version}.sigs.json`, await signManifest(manifest, [signer('release')]))
  const head = writeHead({
    product: 'hello',
    channel: 'stable',
    epoch: 1,
    sequence,
    issuedAt: formatTime(now),
    expiresAt: formatTime(now + 7 * day),
    log: { sn: identity.sn, said: identity.said },
    rolesVersion: 1,
    manifest: manifestPin(model, sha256Hex(manifest), manifest.length),
    revoked: [],
    mirrors: [],
  })
  served.set('channels/stable/head.json', await signHead(head, [signer('head')]))
}

/** What players are given with the launcher: the identity that may publish. */
export const trust = `did:keri:${identity.prefix}?sn=${identity.sn}&said=${identity.said}`

/** The server, reached without a network. */
export function serve(url: string): Promise<Response> {
  const bytes = served.get(new URL(url).pathname.slice(1))
  return Promise.resolve(
    bytes === undefined ? new Response(null, { status: 404 }) : new Response(Uint8Array.from(bytes)),
  )
}
