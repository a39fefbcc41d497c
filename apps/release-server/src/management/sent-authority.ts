import { parseRoles } from '@keyturn/manifest'
import { base64Decode } from '@keyturn/primitives'
import { SCHEMAS } from '../http/route.ts'

/** Members of a body with a log that is newer than the one in force, and role documents that it seals. */
export const SCHEMAS_OF_AUTHORITY = {
  log: SCHEMAS.base64,
  roles: { type: 'array', maxItems: 16, items: SCHEMAS.base64 },
} as const

/**
 * Decodes them; nothing is verified but the form of the role documents.
 *
 * @throws ManifestError, PrimitivesError.
 */
export function authorityOf({
  log,
  roles = [],
}: {
  readonly log?: string | undefined
  readonly roles?: readonly string[] | undefined
}): { readonly log: Uint8Array | undefined; readonly roles: ReadonlyMap<number, Uint8Array> } {
  return {
    log: log === undefined ? undefined : base64Decode(log),
    roles: new Map(
      roles.map((text) => {
        const bytes = base64Decode(text)
        return [parseRoles(bytes).version, bytes]
      }),
    ),
  }
}
