import type { Head, ReleaseManifest } from '@keyturn/manifest'
import { canonicalJson } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { StoredRelease } from '../records/store.ts'

/** What a build is compared with. */
export interface Compared {
  readonly offered: Head | undefined
  readonly before: StoredRelease | undefined
  readonly draft: ReleaseManifest
}

/** Before a manifest ends, one with the same files is needed. */
const RENEW_BEFORE_END_MS = 30 * 86_400_000

/** Whether a release would give players what everybody is offered already. */
export function isUnchanged(
  { percent, resume }: { readonly percent?: number | undefined; readonly resume?: boolean | undefined },
  { offered, before, draft }: Compared,
): boolean {
  if (percent !== undefined || resume === true || before === undefined) return false
  if (offered?.manifest.sha256 !== before.sha256 || offered.rollout !== undefined) return false
  const { manifest } = before
  const endsMs = Date.parse(manifest.expiresAt ?? '') - Date.parse(draft.issuedAt ?? '')
  return endsMs > RENEW_BEFORE_END_MS && contentOf(manifest) === contentOf(draft)
}

/** What players notice of a release, as one text. */
export function contentOf(manifest: ReleaseManifest): string {
  const { format, files, epoch, contentKeys, keep, program, components, requires, notes, delete: removed } = manifest
  const content = { format, files, epoch, contentKeys, keep, program, components, requires, notes, removed }
  return canonicalJson(JSON.parse(JSON.stringify(content)) as JsonObject)
}
