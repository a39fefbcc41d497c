// Keeps a signing key in an encrypted file, uses it without ever holding it, and rotates the key the file is sealed
// under.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519PublicKey, ed25519Sign, ed25519Verify, systemRandom } from '@keyturn/primitives'
import { createKeystore, openKeystore } from '@keyturn/keystore/node'

const folder = await mkdtemp(join(tmpdir(), 'keystore-example-'))
const path = join(folder, 'keystore')
const created = await createKeystore(path, 'correct horse battery staple')
const seed = systemRandom(32)
await created.put('release', {
  kind: 'ed25519-seed',
  secret: seed,
  publicKey: ed25519PublicKey(seed),
  policy: { rotate_after_days: 90 },
})
seed.fill(0)
created.close()

const keystore = await openKeystore(path, 'correct horse battery staple')
const message = new TextEncoder().encode('release 1.2.3')
// Wiped when the call ends.
const signature = await keystore.withSecret('release', (secret) => ed25519Sign(secret, message))
const { publicKey, fingerprint } = keystore.get('release')
await keystore.rotateMaster()
console.log({
  fingerprint: fingerprint.length,
  signed: publicKey !== undefined && ed25519Verify(publicKey, message, signature),
  masters: keystore.masters().map(({ version, state }) => `${version} ${state}`),
})
keystore.close()
await rm(folder, { recursive: true })
