import { base64Decode, base64Encode } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { parseDocument } from './fields.ts'
import type { DocumentKind } from './fields.ts'
import { limits } from './limits.ts'
import { documentBytes } from './write-manifest.ts'

/** The documents of one release, in one file beside the downloads; docs/spec/manifest.md §11. */
export interface ReleaseBundle {
  readonly log: Uint8Array
  readonly roles: Uint8Array
  readonly head: Uint8Array
  readonly manifest: Uint8Array
  readonly signatures: Uint8Array
}

const TYPE = 'keyturn.release'
const KIND: DocumentKind = { name: 'release', schemaCode: 'MAN_SCHEMA', jsonCode: 'MAN_JSON' }
const PARTS = {
  log: limits.logBytes,
  roles: limits.rolesBytes,
  head: limits.headBytes,
  manifest: limits.manifestBytes,
  signatures: limits.signaturesBytes,
} as const

/** Length in base64 of this many bytes. */
export function base64Length(byteCount: number): number {
  return Math.ceil(byteCount / 3) * 4
}

const MAX_BYTES = Object.values(PARTS).reduce((sum, bytes) => sum + base64Length(bytes), 4096)

/** Writes the documents of a release as one. */
export function writeReleaseBundle(bundle: ReleaseBundle): Uint8Array<ArrayBuffer> {
  const parts = Object.keys(PARTS).map((name) => [name, base64Encode(bundle[name as keyof ReleaseBundle])])
  return documentBytes({ type: TYPE, schema: 1, ...Object.fromEntries(parts) })
}

/**
 * Takes them apart again; nothing is verified. @throws ManifestError `MAN_JSON`, `MAN_SCHEMA`, `MAN_TYPE`, `MAN_LIMIT`.
 */
export function parseReleaseBundle(bytes: Uint8Array): ReleaseBundle {
  const fields = parseDocument(bytes, KIND, MAX_BYTES)
  fields.exactly('type', TYPE, 'MAN_TYPE')
  fields.integer('schema', 1, 1)
  const decode = (name: keyof ReleaseBundle): Uint8Array => {
    try {
      return base64Decode(fields.text(name, base64Length(PARTS[name])))
    } catch (cause) {
      if (cause instanceof ManifestError) throw cause
      throw new ManifestError('MAN_SCHEMA', `Cannot read release: ${name} is not base64`, { cause })
    }
  }
  return {
    log: decode('log'),
    roles: decode('roles'),
    head: decode('head'),
    manifest: decode('manifest'),
    signatures: decode('signatures'),
  }
}
