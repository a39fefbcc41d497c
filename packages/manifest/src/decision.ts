import type { VerifiedLog } from '@keyturn/kel'
import type { KeyturnError } from '@keyturn/primitives'
import type { FormatRegistry } from './formats.ts'
import type { LogFinding } from './trust-state.ts'
import type { ReleaseFormat } from './formats/release-format.ts'
import type { Head, ManifestPin, ReleaseManifest, RoleDocument } from './model.ts'
import type { TrustState } from './trust-state.ts'

/** How an install stands; docs/spec/manifest.md §6. */
export type Trust = 'pinned' | 'current' | 'stale' | 'barred' | 'forked'

/** Which side of a rollout an install is on. */
export type Cohort = 'in' | 'out' | { readonly installId: string }

/** How a release is verified. Everything here comes from settings of this machine, never from a document. */
export interface VerifyOptions {
  /** Channel that is followed. */
  readonly channel: string
  /** Time at the start of the cycle, milliseconds since 1970. The whole cycle uses it. */
  readonly nowMs: number
  /** Product the install was made for; by default whatever the sealed role document says. */
  readonly product?: string
  /** Side of a rollout; `in` by default, which is right for a publisher who checks. */
  readonly cohort?: Cohort
  /** Version of this launcher, held against `min_launcher_version`. */
  readonly launcherVersion?: string
  /** Formats this launcher can install; those of this package by default. */
  readonly formats?: FormatRegistry
  /** How far `issued_at` may be ahead; 5 minutes by default. */
  readonly futureSkewMs?: number
  /**
   * Look at no proof of the log of releases: for those who publish, before anything is in the log. Default: the policy
   * of the role document decides.
   */
  readonly withoutLog?: boolean
  /** How long an expired document still counts; 0 by default. */
  readonly expirySlackMs?: number
}

/** The documents of one release, as the network gave them. Absent means: it could not be fetched. */
export interface ReleaseInput {
  /** Key event logs of origin and mirrors, in any order. */
  readonly logs?: readonly Uint8Array[]
  /** `roles/<N>.json`. */
  readonly roles?: Uint8Array
  /** Role documents accepted before, kept beside the state: what was revoked has to stay so. */
  readonly earlierRoles?: readonly Uint8Array[]
  /** `kills.json`: of the server, of mirrors, and as it was stored before. */
  readonly kills?: Uint8Array | readonly Uint8Array[]
  /** `head.json`. */
  readonly head?: Uint8Array
  /** `<version>.tlog-proof`. */
  readonly proof?: Uint8Array
  /** `manifest.json`. */
  readonly manifest?: Uint8Array
  /** `manifest.sigs.json`. */
  readonly signatures?: Uint8Array
  /** `manifest.json.sig`, under pinned keys. */
  readonly legacySignature?: Uint8Array
}

/** A document that the next step needs, with the limit its download has to keep. */
export type DocumentRequest =
  | { readonly document: 'log'; readonly prefix: string; readonly maxBytes: number }
  | { readonly document: 'roles'; readonly version: number; readonly maxBytes: number }
  | { readonly document: 'kills'; readonly maxBytes: number }
  | { readonly document: 'proof'; readonly channel: string; readonly pin: ManifestPin; readonly maxBytes: number }
  | { readonly document: 'head'; readonly channel: string; readonly maxBytes: number }
  | {
      readonly document: 'manifest'
      readonly channel: string
      readonly pin: ManifestPin | undefined
      readonly maxBytes: number
    }
  | { readonly document: 'signatures'; readonly channel: string; readonly pin: ManifestPin; readonly maxBytes: number }
  | { readonly document: 'legacy-signature'; readonly channel: string; readonly maxBytes: number }

/** What a request is answered with: the literal bytes, several for logs, or undefined for what could not be fetched. */
export type DocumentAnswer = Uint8Array | readonly Uint8Array[] | undefined

/** Something to tell the user although nothing was refused. */
export interface TrustWarning {
  /** `TRUST_PIN`: the pin names no place. `MAN_CLOCK`: the clock here is behind what was already seen. */
  readonly code: 'TRUST_PIN' | 'MAN_CLOCK'
  /** For people. */
  readonly message: string
}

/** What an accepted log and role document say. */
export interface VerifiedAuthority {
  /** The log. */
  readonly log: VerifiedLog
  /** Its literal bytes, to be stored. */
  readonly logBytes: Uint8Array
  /** The role document in force. */
  readonly roles: RoleDocument
  /** Its literal bytes, to be stored. */
  readonly rolesBytes: Uint8Array
}

interface DecisionBase {
  /** How the install stands after this cycle. */
  readonly trust: Trust
  /** The next state; persist it together with the documents it was raised by. Never lower than the one before. */
  readonly state: TrustState
  /** What to tell the user anyway. */
  readonly warnings: readonly TrustWarning[]
  /** Log and role document, when they were accepted; undefined under pinned keys. */
  readonly authority?: VerifiedAuthority
  /**
   * `kills.json` with the notices that end a key of the role document in force, to be stored; undefined without any.
   */
  readonly kills?: Uint8Array
}

/** A release that may be installed. */
export interface AcceptedRelease extends DecisionBase {
  readonly outcome: 'accepted'
  /** What the log of releases says of it; undefined when the role document has no policy. */
  readonly log?: LogFinding
  /** Which pin of the head it is. */
  readonly offer: 'manifest' | 'fallback'
  /** What it says. */
  readonly manifest: ReleaseManifest
  /** Its literal bytes, to be stored. */
  readonly manifestBytes: Uint8Array
  /** SHA-256 of them. */
  readonly manifestSha256: string
  /** Keys that signed it. */
  readonly signedBy: readonly string[]
  /** How it is installed. */
  readonly format: ReleaseFormat
  /** The head that pins it; undefined under pinned keys. */
  readonly head?: Head
  /** Its literal envelope, to be stored. */
  readonly headBytes?: Uint8Array
}

/** Everything is in order, and there is nothing to install: the offer for this install is older than what it has. */
export interface StayDecision extends DecisionBase {
  readonly outcome: 'stay'
  readonly head: Head
  readonly headBytes: Uint8Array
}

/** Nothing may be installed. */
export interface RefusedRelease extends DecisionBase {
  readonly outcome: 'refused'
  /** The first rule that was broken: a `ManifestError`, or a `KelError` for an event of the log. */
  readonly error: KeyturnError
  /** The document it was found in. */
  readonly document: DocumentRequest['document'] | 'state'
}

/** What `verifyRelease` answers. */
export type ReleaseDecision = AcceptedRelease | StayDecision | RefusedRelease
