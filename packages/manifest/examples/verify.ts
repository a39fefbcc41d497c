// A publisher signs a release; a launcher that knows nothing but a pin decides whether to trust it.
import { formatPin, sha256DigestSeal } from '@keyturn/kel'
import { incept, seedSigner } from '@keyturn/kel/owner'
import { initialTrustState, parseTrustRoot, verifyRelease } from '@keyturn/manifest'
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
import { sha256Hex, ed25519PublicKey, ed25519Sign, hexEncode, systemRandom, utf8Encode } from '@keyturn/primitives'
import type { DocumentSigner } from '@keyturn/manifest/publish'

const now = Date.now()
const days = (count: number): string => formatTime(now + count * 86_400_000)
const newSigner = (): DocumentSigner => {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

// The identity says who may sign: its inception seals role document 1.
const [identity, next] = [systemRandom(32), systemRandom(32)]
const [releaseKey, headKey] = [newSigner(), newSigner()]
const role = (signer: DocumentSigner) => ({ keys: [hexEncode(signer.publicKey)], threshold: 1 })
const roles = writeRoles({
  product: 'example',
  version: 1,
  epoch: 1,
  issuedAt: days(0),
  expiresAt: days(365),
  roles: { release: role(releaseKey), head: role(headKey) },
  revokedKeys: [],
  transport: [],
})
const inception = await incept(
  {
    keys: [ed25519PublicKey(identity)],
    nextKeys: [ed25519PublicKey(next)],
    traits: ['EO'],
    seals: [sha256DigestSeal(roles)],
  },
  seedSigner([identity]),
)
const pin = formatPin({ prefix: inception.prefix, place: inception.state })

// The release: a manifest under the release key, and the head that pins it under the head key.
const content = utf8Encode('the game')
const manifest = buildManifest([{ path: 'game.bin', sha256: sha256Hex(content), size: content.length }], {
  version: '2026.11.21-1',
  nowMs: now,
  release: { product: 'example', channel: 'stable', epoch: 1, sequence: 1, rolesVersion: 1 },
})
const manifestBytes = writeManifest(manifest)
const signatures = await signManifest(manifestBytes, [releaseKey])
const head = await signHead(
  writeHead({
    product: 'example',
    channel: 'stable',
    epoch: 1,
    sequence: 1,
    issuedAt: days(0),
    expiresAt: days(7),
    log: { sn: inception.sn, said: inception.said },
    rolesVersion: 1,
    manifest: manifestPin(manifest, sha256Hex(manifestBytes), manifestBytes.length),
    revoked: [],
    mirrors: [],
  }),
  [headKey],
)

// The launcher: the pin, five documents from anywhere, one decision.
const input = { logs: [inception.message], roles, head, manifest: manifestBytes, signatures }
const state = initialTrustState(parseTrustRoot(pin))
const decision = verifyRelease(input, state, { channel: 'stable', nowMs: now })
console.log(decision.outcome, decision.trust)

const tampered = manifestBytes.slice()
tampered[40] = (tampered[40] ?? 0) ^ 1
const refused = verifyRelease({ ...input, manifest: tampered }, decision.state, { channel: 'stable', nowMs: now })
console.log(refused.outcome, refused.outcome === 'refused' && refused.error.code)
