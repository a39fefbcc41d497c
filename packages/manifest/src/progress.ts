import type { DocumentAnswer, DocumentRequest, RefusedRelease, ReleaseDecision, VerifiedAuthority } from './decision.ts'
import { ManifestError } from './errors.ts'
import { looksLikeManifest } from './looks-like-manifest.ts'
import type { TrustState } from './trust-state.ts'

/** One verification under way: it asks for documents, one after the other, and ends with a decision. */
export type ReleaseSteps = Generator<DocumentRequest, ReleaseDecision, DocumentAnswer>

/** What a verification knows when it breaks off. */
export interface Progress {
  /** The document being verified. */
  document: RefusedRelease['document']
  /** The state so far: an accepted log and role document count even when what follows is refused. */
  state: TrustState
  /** Set with them. */
  authority?: VerifiedAuthority
  /** Kill notices that count. */
  kills?: Uint8Array
  /**
   * True when a well-formed manifest carried a wrong signature: the client must not start, as in the original launcher.
   */
  tampered: boolean
}

/** The document of an answer that may hold one only. */
export function singleAnswer(answer: DocumentAnswer): Uint8Array | undefined {
  return answer instanceof Uint8Array ? answer : answer?.[0]
}

/** Verifies a manifest, and notes when what was served looks like one that somebody altered. */
export function notingTampering<Accepted>(
  progress: Progress,
  bytes: Uint8Array | undefined,
  verify: () => Accepted,
): Accepted {
  try {
    return verify()
  } catch (error) {
    const wrongSignature = error instanceof ManifestError && error.code === 'MAN_SIGNATURE'
    progress.tampered = wrongSignature && bytes !== undefined && looksLikeManifest(bytes)
    throw error
  }
}
