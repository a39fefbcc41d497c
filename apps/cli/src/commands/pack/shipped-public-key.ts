import { M2pError } from '@keyturn/m2pack-format'
import { readPublicKeyFile } from '@keyturn/m2pack-format/node'
import { ed25519PublicKey, equalBytes, printable, wipe } from '@keyturn/primitives'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Names that `keygen`, and the original packer, give to secrets. */
const secretNames = new Set(['master.key', 'signing.key'])

/** A folder with more files is not a key folder, and is not searched. */
const maxSiblings = 200

/**
 * Reads a public key that is about to be written into something others receive. Key files are 32 untyped bytes, and
 * half of all secrets would pass as points of the curve, so what looks like the secret is refused: by the name it was
 * born with, or because its own public key is beside it.
 *
 * @throws {@link M2pError} `M2P_KEY_INVALID`.
 */
export async function readShippedPublicKey(path: string): Promise<Uint8Array> {
  const key = await readPublicKeyFile(path)
  if (!secretNames.has(basename(path)) && !(await hasItsPublicKeyBeside(path, key))) return key
  wipe(key)
  throw new M2pError(
    'M2P_KEY_INVALID',
    `Cannot write the public key of "${printable(path)}": that file holds a secret`,
    {
      hint: 'Give the public key, signing.pub',
    },
  )
}

async function hasItsPublicKeyBeside(path: string, key: Uint8Array): Promise<boolean> {
  const folder = dirname(path)
  const entries = await readdir(folder, { withFileTypes: true })
  if (entries.length > maxSiblings) return false
  const derived = ed25519PublicKey(key)
  for (const entry of entries) {
    if (!entry.isFile()) continue // a pipe would wait for its writer
    const other = await readPublicKeyFile(join(folder, entry.name)).catch(() => undefined) // some other file
    if (other !== undefined && equalBytes(other, derived)) return true
  }
  return false
}
