import { initialTrustState, parseTrustRoot, verifyRelease } from '@keyturn/manifest'
import { buildManifest, formatTime, manifestPin, signHead, signManifest } from '@keyturn/manifest/publish'
import { writeHead, writeManifest, writeRoles } from '@keyturn/manifest/publish'
import { formatPin, sha256DigestSeal } from '@keyturn/kel'
import { incept, seedSigner } from '@keyturn/kel/owner'
import { ed25519PublicKey, ed25519Sign, hexEncode, sha256Hex, systemRandom } from '@keyturn/primitives'
import { bytes, expect } from './require.mjs'

const nowMs = Date.now()
const days = (count) => formatTime(nowMs + count * 86_400_000)
const place = { product: 'example', channel: 'stable', epoch: 1, sequence: 1 }

function signer() {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

async function published() {
  const [release, head] = [signer(), signer()]
  const role = ({ publicKey }) => ({ keys: [hexEncode(publicKey)], threshold: 1 })
  const dates = { issuedAt: days(0), expiresAt: days(7) }
  const named = { release: role(release), head: role(head) }
  const document = { product: 'example', version: 1, epoch: 1, ...dates, roles: named, revokedKeys: [], transport: [] }
  const roles = writeRoles(document)
  const [seed, next] = [systemRandom(32), systemRandom(32)]
  const keys = { keys: [ed25519PublicKey(seed)], nextKeys: [ed25519PublicKey(next)], traits: ['EO'] }
  const inception = await incept({ ...keys, seals: [sha256DigestSeal(roles)] }, seedSigner([seed]))
  const file = { path: 'game.bin', sha256: sha256Hex(bytes('the game')), size: 8 }
  const built = buildManifest([file], { version: '1.2.3', nowMs, release: { ...place, rolesVersion: 1 } })
  const manifest = writeManifest(built)
  const pinned = manifestPin(built, sha256Hex(manifest), manifest.length)
  const log = { sn: inception.sn, said: inception.said }
  const plain = writeHead({ ...place, ...dates, log, rolesVersion: 1, manifest: pinned, revoked: [], mirrors: [] })
  const signatures = await signManifest(manifest, [release])
  const input = { logs: [inception.message], roles, head: await signHead(plain, [head]), manifest, signatures }
  return { input, pin: formatPin({ prefix: inception.prefix, place: inception.state }) }
}

export const features = {
  async 'publish and verify'() {
    const { input, pin } = await published()
    const state = initialTrustState(parseTrustRoot(pin))
    const verified = verifyRelease(input, state, { channel: 'stable', nowMs })
    expect('the release', verified.outcome !== 'refused')
    const manifest = input.manifest.slice()
    manifest[40] ^= 1
    const refused = verifyRelease({ ...input, manifest }, verified.state, { channel: 'stable', nowMs })
    expect('a changed manifest', refused.outcome === 'refused' && refused.error.code.startsWith('MAN_'))
  },
}
