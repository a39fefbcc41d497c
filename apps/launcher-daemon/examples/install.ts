// A publisher in memory, an install from it, an update that is small, and a start without any server.
// Run: node examples/install.ts
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { incept, seedSigner, sha256DigestSeal } from '@keyturn/kel'
import { createEngine } from '@keyturn/launcher-daemon'
import {
  buildManifest,
  formatTime,
  manifestPin,
  sha256Hex,
  signHead,
  signManifest,
  writeHead,
  writeManifest,
  writeRoles,
} from '@keyturn/manifest'
import { ed25519PublicKey, ed25519Sign, hexEncode } from '@keyturn/primitives'

const seed = (name: string): Uint8Array => new Uint8Array(createHash('sha256').update(name).digest())
const publicKey = (name: string): Uint8Array => ed25519PublicKey(seed(name))
const signer = (name: string) => ({
  publicKey: publicKey(name),
  sign: (message: Uint8Array) => ed25519Sign(seed(name), message),
})

const now = Date.now()
const day = 86_400_000
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

async function release(sequence: number, files: Readonly<Record<string, string>>): Promise<void> {
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

const folder = await mkdtemp(join(tmpdir(), 'keyturn-example-'))
let isUp = true
const engine = createEngine({
  folder,
  server: 'https://releases.example/',
  trust: `did:keri:${identity.prefix}?sn=${identity.sn}&said=${identity.said}`,
  program: ['hello.mjs'],
  retry: { tries: 1 },
  fetch: (url) => {
    if (!isUp) return Promise.reject(new TypeError('no server'))
    const bytes = served.get(new URL(url).pathname.slice(1))
    return Promise.resolve(
      bytes === undefined ? new Response(null, { status: 404 }) : new Response(Uint8Array.from(bytes)),
    )
  },
})

await release(1, { 'hello.mjs': 'console.log("Hello from release 1")', 'readme.txt': 'the same in both' })
const first = await engine.update()
await release(2, { 'hello.mjs': 'console.log("Hello from release 2")', 'readme.txt': 'the same in both' })
const second = await engine.update()
isUp = false
const started = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
console.log(
  `installed ${first.version}, then ${second.version} with ${second.writtenFiles} file; offline: ${started.offline}, exit ${await started.exited}`,
)
console.log(await readFile(join(folder, 'hello.mjs'), 'utf8'))
await started.confirmed
await rm(folder, { recursive: true })
