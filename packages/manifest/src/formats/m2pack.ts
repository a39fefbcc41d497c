import { printable } from '@keyturn/primitives'
import { ManifestError } from '../errors.ts'
import type { ReleaseFormat } from './release-format.ts'
import type { ReleaseManifest } from '../model.ts'

const ARCHIVE = /\.m2p$/i

/** Every archive names a listed content key, and none that was revoked. Schema 1 cannot say either. */
function check({ schema, files, contentKeys }: ReleaseManifest): void {
  if (schema === 1) return
  const status = new Map(contentKeys.map((key) => [key.keyId, key.status]))
  for (const { path, keyId } of files) {
    if (!ARCHIVE.test(path)) continue
    if (keyId === undefined) {
      throw new ManifestError('MAN_SCHEMA', `Cannot use manifest: archive "${printable(path, 120)}" names no key_id`)
    }
    if (status.get(keyId) === 'revoked') {
      throw new ManifestError(
        'MAN_KEY_REVOKED',
        `Cannot use manifest: archive "${printable(path, 120)}" is under key_id ${keyId}, which is revoked`,
        {
          details: { keyId },
        },
      )
    }
  }
}

/** Encrypted archives: `.m2p` files are opaque, and the client needs a runtime key. */
export const m2pack: ReleaseFormat = {
  name: 'm2pack',
  runtimeKey: 'required',
  runtimeKeyPath: 'runtime-key.json',
  isOpaque: (path) => ARCHIVE.test(path),
  check,
}
