import { base64Decode, base64Encode } from '@keyturn/primitives'
import { ManifestError } from '../errors.ts'
import { parseDocument } from '../fields.ts'
import type { DocumentKind } from '../fields.ts'
import { limits } from '../limits.ts'
import { base64Length } from '../release-bundle.ts'
import { documentBytes } from '../write-manifest.ts'

/** What a publisher stores between two releases. Nothing in it is secret. */
export interface Publication {
  readonly channel: string
  readonly pin: string
  /** Key event log of the identity. */
  readonly log: Uint8Array
  /** Role document in force. */
  readonly roles: Uint8Array
  /** Heads signed so far. */
  readonly headSequence: number
  /** The last release; undefined before the first. */
  readonly manifest?: Uint8Array
}

const TYPE = 'keyturn.publication'
const KIND: DocumentKind = { name: 'state of a publication', schemaCode: 'TRUST_STATE', jsonCode: 'TRUST_STATE' }
const MAX_BYTES = base64Length(limits.logBytes + limits.rolesBytes + limits.manifestBytes) + 4096

/** Writes the state of a publication. */
export function writePublication({ log, roles, manifest, ...rest }: Publication): Uint8Array<ArrayBuffer> {
  return documentBytes({
    type: TYPE,
    schema: 1,
    channel: rest.channel,
    pin: rest.pin,
    log: base64Encode(log),
    roles: base64Encode(roles),
    head_sequence: rest.headSequence,
    manifest: manifest && base64Encode(manifest),
  })
}

/** Reads it back. @throws ManifestError `TRUST_STATE`, `MAN_LIMIT`. */
export function parsePublication(bytes: Uint8Array): Publication {
  const fields = parseDocument(bytes, KIND, MAX_BYTES)
  fields.exactly('type', TYPE, 'TRUST_STATE')
  fields.integer('schema', 1, 1)
  const decode = (name: string, maxBytes: number): Uint8Array => {
    try {
      return base64Decode(fields.text(name, base64Length(maxBytes)))
    } catch (cause) {
      throw new ManifestError('TRUST_STATE', `Cannot read state of a publication: ${name} is damaged`, { cause })
    }
  }
  return {
    channel: fields.name('channel'),
    pin: fields.text('pin'),
    log: decode('log', limits.logBytes),
    roles: decode('roles', limits.rolesBytes),
    headSequence: fields.integer('head_sequence', 0, Number.MAX_SAFE_INTEGER),
    ...(fields.has('manifest') && { manifest: decode('manifest', limits.manifestBytes) }),
  }
}
