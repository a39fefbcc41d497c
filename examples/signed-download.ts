// A download that you can trust: the publisher signs a folder. A stranger fetches it over plain HTTP and keeps only
// what the publisher's identity confirms. Later, the identity's key and the signing keys are rotated, and the pin still
// works.
//
//   node examples/signed-download.ts
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { formatPin, sha256DigestSeal } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
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
import {
  sha256Hex,
  concatBytes,
  ed25519PublicKey,
  ed25519Sign,
  hexEncode,
  systemRandom,
  utf8Decode,
  utf8Encode,
} from '@keyturn/primitives'
import type { ReleaseManifest, TrustState } from '@keyturn/manifest'
import type { DocumentSigner } from '@keyturn/manifest/publish'

const DAY_MS = 86_400_000
const product = 'tool'
const channel = 'stable'
const inDays = (days: number): string => formatTime(Date.now() + days * DAY_MS)

// ── The publisher ────────────────────────────────────────────────────────────────────────────────────────────────

/** A day-to-day key. In real life, it is in a keystore, or a signing service holds it. */
function newSigner(): DocumentSigner {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

interface Authority {
  readonly version: number
  readonly release: DocumentSigner
  readonly head: DocumentSigner
  readonly document: Uint8Array
}

/** Says who may sign from now on. The document has no signature of its own; the identity's log seals it. */
function appoint(version: number): Authority {
  const [release, head] = [newSigner(), newSigner()]
  const role = ({ publicKey }: DocumentSigner) => ({ keys: [hexEncode(publicKey)], threshold: 1 })
  const document = writeRoles({
    product,
    version,
    epoch: 1,
    issuedAt: inDays(0),
    expiresAt: inDays(365),
    roles: { release: role(release), head: role(head) },
    revokedKeys: [],
    transport: [],
  })
  return { version, release, head, document }
}

/** Signs a folder as one release, and offers it for a week. */
async function offer(
  files: ReadonlyMap<string, Uint8Array>,
  sequence: number,
  authority: Authority,
  log: SignedEvent,
): Promise<Map<string, Uint8Array>> {
  const entries = [...files].map(([path, content]) => ({ path, sha256: sha256Hex(content), size: content.length }))
  const manifest = buildManifest(entries, {
    version: `2026.11.21-${sequence}`,
    nowMs: Date.now(),
    release: { product, channel, epoch: 1, sequence, rolesVersion: authority.version },
  })
  const bytes = writeManifest(manifest)
  const head = writeHead({
    product,
    channel,
    epoch: 1,
    sequence,
    issuedAt: inDays(0),
    expiresAt: inDays(7),
    log: { sn: log.sn, said: log.said },
    rolesVersion: authority.version,
    manifest: manifestPin(manifest, sha256Hex(bytes), bytes.length),
    revoked: [],
    mirrors: [],
  })
  return new Map([
    ['roles', authority.document],
    ['head', await signHead(head, [authority.head])],
    ['manifest', bytes],
    ['signatures', await signManifest(bytes, [authority.release])],
    ...[...files].map(([path, content]) => [`files/${path}`, content] as const),
  ])
}

// ── The downloader: knows an address and a pin ───────────────────────────────────────────────────────────────────

async function get(url: string): Promise<Uint8Array> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** Fetches what is offered. Returns files only if signatures, log and hashes are right. */
async function download(
  url: string,
  trusted: TrustState,
): Promise<{ state: TrustState; manifest: ReleaseManifest; files: Map<string, Uint8Array> }> {
  const [log, roles, head, manifest, signatures] = (await Promise.all(
    ['log', 'roles', 'head', 'manifest', 'signatures'].map((name) => get(url + name)),
  )) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const decision = verifyRelease({ logs: [log], roles, head, manifest, signatures }, trusted, {
    channel,
    nowMs: Date.now(),
  })
  if (decision.outcome === 'refused') throw decision.error
  if (decision.outcome !== 'accepted') throw new Error('There is no new release')
  const files = new Map<string, Uint8Array>()
  for (const { path, sha256, size } of decision.manifest.files) {
    const bytes = await get(`${url}files/${path}`)
    if (bytes.length !== size || sha256Hex(bytes) !== sha256)
      throw new Error(`${path} is not what the publisher signed`)
    files.set(path, bytes)
  }
  return { state: decision.state, manifest: decision.manifest, files }
}

// ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────────

const [firstKey, secondKey, thirdKey] = [systemRandom(32), systemRandom(32), systemRandom(32)]
const [first, second, third] = [seedSigner([firstKey]), seedSigner([secondKey]), seedSigner([thirdKey])]
const beginning = appoint(1)
const inception = await incept(
  {
    keys: first.publicKeys,
    nextKeys: second.publicKeys,
    traits: ['EO'],
    seals: [sha256DigestSeal(beginning.document)],
  },
  first,
)
// Put it on the website, into the package manager, …
const pin = formatPin({ prefix: inception.prefix, place: inception.state })

const served = new Map<string, Uint8Array>()
const publish = (documents: ReadonlyMap<string, Uint8Array>): void =>
  documents.forEach((bytes, name) => served.set(name, bytes))
const server = createServer((request, response) => {
  const bytes = served.get(decodeURIComponent((request.url ?? '/').slice(1)))
  response.writeHead(bytes === undefined ? 404 : 200).end(bytes)
})
await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

try {
  const release = new Map([
    ['tool.bin', systemRandom(2000)],
    ['readme.txt', utf8Encode('Read me first\n')],
  ])
  served.set('log', inception.message)
  publish(await offer(release, 1, beginning, inception))
  const got = await download(url, initialTrustState(parseTrustRoot(pin)))
  console.log(
    `${got.manifest.version}: ${got.files.size} files, ` +
      `"${utf8Decode(got.files.get('readme.txt') ?? new Uint8Array()).trim()}"`,
  )

  served.set('files/tool.bin', systemRandom(2000)) // a mirror that replaces a file
  const refused = await download(url, initialTrustState(parseTrustRoot(pin))).catch((error: Error) => error.message)
  console.log(`another file: ${String(refused)}`)

  // A year later, the promised key takes over and names other signers. The old pin still works.
  const successors = appoint(2)
  const rotation = await rotate(
    inception.state,
    { keys: second.publicKeys, nextKeys: third.publicKeys, seals: [sha256DigestSeal(successors.document)] },
    second,
  )
  served.set('log', concatBytes(inception.message, rotation.message))
  publish(await offer(new Map([['tool.bin', systemRandom(2100)]]), 2, successors, rotation))
  const followed = await download(url, got.state)
  console.log(
    `${followed.manifest.version}: followed event ${rotation.sn} of the log with the pin of event ${inception.sn}`,
  )

  // The old signing key is stolen after it left its role. What it signs no longer counts.
  publish(await offer(new Map([['tool.bin', utf8Encode('malware')]]), 3, beginning, rotation))
  const thief = await download(url, followed.state).catch((error: { code?: string }) => error.code)
  console.log(`a release of the old key: ${String(thief)}`)
  if (typeof thief !== 'string' || typeof refused !== 'string')
    throw new Error('Something was accepted that should have been refused')
} finally {
  server.close()
}
