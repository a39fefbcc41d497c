// Signed downloads: a publisher signs files, anyone who has the pin verifies them, and the keys are rotated in between.
import { seedSigner } from '@keyturn/kel/owner'
import { verifyDownload } from '@keyturn/manifest'
import { publishFiles, rotatePublication, startPublication } from '@keyturn/manifest/publish'
import { ed25519PublicKey, ed25519Sign, systemRandom, utf8Encode } from '@keyturn/primitives'
import type { DocumentSigner } from '@keyturn/manifest/publish'

// The publisher. Keys are seeds here; a keystore or a token can sign as well. The second identity key is promised now
// and kept where the first is not: a thief of the first cannot rotate.
const newKey = (): DocumentSigner => {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}
const [first, second, third] = [systemRandom(32), systemRandom(32), systemRandom(32)].map((seed) => seedSigner([seed]))
if (first === undefined || second === undefined || third === undefined) throw new Error('unreachable')
const keys = { release: newKey(), head: newKey() }
const started = await startPublication('tool', { ...keys, identity: first, nextIdentity: second.publicKeys })
const PIN = started.pin // into the program, or the README

const tool = { path: 'tool-1.2.3.tgz', bytes: utf8Encode('the tool') }
const published = await publishFiles([tool], keys, started.state, { version: '1.2.3' })
// Upload tool-1.2.3.tgz and published.release anywhere; store published.state for the next release.

// Later: other keys, under the same pin. Then the next release.
const newKeys = { release: newKey(), head: newKey() }
const identity = { identity: second, nextIdentity: third.publicKeys }
const rotated = await rotatePublication(published.state, { ...newKeys, ...identity })
const next = { path: 'tool-1.3.0.tgz', bytes: utf8Encode('a better tool') }
const newer = await publishFiles([next], newKeys, rotated, { version: '1.3.0' })

// The reader: has the pin, and what it stored the last time. Everything else comes from anywhere.
let stored: Uint8Array | undefined
function install(release: Uint8Array, file: { readonly path: string; readonly bytes: Uint8Array }): string {
  try {
    const download = verifyDownload(release, PIN, stored)
    download.requireFile(file.path, file.bytes)
    stored = download.state
    return `installs ${download.version}`
  } catch (error) {
    return `refused: ${(error as { code?: string }).code}`
  }
}
console.log(install(published.release, tool))
console.log(install(published.release, { ...tool, bytes: utf8Encode('the fool') })) // refused: MAN_FILE
console.log(install(newer.release, next))
console.log(install(published.release, tool)) // an old release comes back: refused
