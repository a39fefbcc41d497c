/** Where a file belongs; `all` is every platform. A reader skips files of platforms it does not know. */
export type Platform = string

/** A chunk index that describes the blob of a file, itself a blob; docs/spec/manifest.md §8. */
export interface IndexReference {
  /** SHA-256 of the index blob, 64 lower-case hex. */
  readonly sha256: string
  /** Bytes of the index blob. */
  readonly size: number
  /** Chunks it lists. */
  readonly chunks: number
  /** Parameter set of the chunker. */
  readonly params: number
}

/** One file of a release. */
export interface ManifestFile {
  /** Relative path with forward slashes. */
  readonly path: string
  /** SHA-256 of the file, 64 lower-case hex. */
  readonly sha256: string
  /** Bytes. */
  readonly size: number
  /** `all` unless stated. */
  readonly platform: Platform
  /** False when an install is whole without it. */
  readonly required: boolean
  /** Whether it gets the executable bit on Unix. */
  readonly executable: boolean
  /** Archives only: the content key that opens it. */
  readonly keyId?: number | undefined
  /** Its chunk index, when it has one. */
  readonly index?: IndexReference | undefined
  /** Component it belongs to, which players may leave out; without it the file always belongs to an install. */
  readonly group?: string | undefined
}

/** The launcher itself: target of its self-update, never one of the files. */
export interface LauncherFile {
  /** Relative path with forward slashes. */
  readonly path: string
  /** SHA-256 of the file, 64 lower-case hex. */
  readonly sha256: string
  /** Bytes. */
  readonly size: number
  /** `all` unless stated. */
  readonly platform: Platform
}

/** Whether packs under a content key may be started. */
export type ContentKeyStatus = 'active' | 'retired' | 'revoked'

/** What a runtime key has to match before anything is started. */
export interface ContentKey {
  /** 1 to 2^32 - 1, never used again with other bytes. */
  readonly keyId: number
  /** Ed25519 public key that signs the archives, 64 lower-case hex. */
  readonly verifierPub: string
  /** Key commitment of the archives, 64 lower-case hex. */
  readonly commitment: string
  /** `revoked` bars starting packs under it. */
  readonly status: ContentKeyStatus
}

/** What a machine needs before an update begins. */
export interface Requirements {
  /** Free bytes on the install volume. */
  readonly freeBytes?: number | undefined
  /** Operating systems, any of them. */
  readonly os?: readonly string[] | undefined
  /** Processor architectures, any of them. */
  readonly arch?: readonly string[] | undefined
}

/** What players may leave out: a language, high-resolution art. Its files name it as their `group`. */
export interface Component {
  /** What `files[].group` says. */
  readonly name: string
  /** For players. */
  readonly title: string
  /** Whether an install has it when nobody chose; true unless stated. */
  readonly default: boolean
}

/** Sums over `files`, checked by every reader. */
export interface ManifestTotals {
  /** Number of files. */
  readonly files: number
  /** Bytes of all files. */
  readonly bytes: number
  /** Bytes of all distinct blobs: what a first install downloads. */
  readonly downloadBytes: number
}

/** What schema 1 already had: all that the original launcher reads. */
export interface ManifestCore {
  /** Release format; `legacy-json-blob` when the document names none. */
  readonly format: string
  /** The publisher's text; under schema 2 it names the release and orders nothing. */
  readonly version: string
  /** RFC 3339, UTC. */
  readonly createdAt: string
  /** Version that this one replaces. */
  readonly previous?: string | undefined
  /** Markdown shown to players. */
  readonly notes?: string | undefined
  /** Older launchers refuse to apply this release. */
  readonly minLauncherVersion?: string | undefined
  /** The launcher; schema 1 always has one. */
  readonly launcher?: LauncherFile | undefined
  /** The files, sorted by the UTF-8 bytes of their paths. */
  readonly files: readonly ManifestFile[]
}

/** What schema 2 adds, each member optional on the wire unless the trust root demands it. */
export interface ManifestExtension {
  /** Product, equal to the pinned one. */
  readonly product?: string | undefined
  /** Channel. */
  readonly channel?: string | undefined
  /** Epoch of the role document. */
  readonly epoch?: number | undefined
  /** Counts per product and channel, from 1. */
  readonly sequence?: number | undefined
  /** RFC 3339, UTC, whole seconds. */
  readonly issuedAt?: string | undefined
  /** RFC 3339, UTC, whole seconds; at most 400 days after `issuedAt`. */
  readonly expiresAt?: string | undefined
  /** SHA-256 of the previous manifest of the channel. */
  readonly previousSha256?: string | undefined
  /** A reader has to hold at least this role document. */
  readonly rolesVersion?: number | undefined
  /** Field names that a reader has to understand. */
  readonly critical: readonly string[]
  /** Content keys of this release and of those before. */
  readonly contentKeys: readonly ContentKey[]
  /** Paths to remove even when no previous manifest listed them. */
  readonly delete: readonly string[]
  /** Highest format version of the archives, when it is not 1: a launcher that does not know it changes nothing. */
  readonly archiveFormat?: number | undefined
  /** Globs of files that players may edit: installed once, never changed or repaired afterwards. */
  readonly keep: readonly string[]
  /** The file a launcher starts, by platform; `all` stands for every platform without an entry of its own. */
  readonly program?: Readonly<Record<string, string>> | undefined
  /** What players may leave out. */
  readonly components: readonly Component[]
  /** What a machine needs. */
  readonly requires?: Requirements | undefined
  /** Version whose files this release brings back. */
  readonly rollbackOf?: string | undefined
  /** Sums. */
  readonly totals?: ManifestTotals | undefined
  /** `did:keri:…` that an install with pinned keys moves to. */
  readonly trustRoot?: string | undefined
}

/** A release manifest, of schema 1 or 2. */
export interface ReleaseManifest extends ManifestCore, ManifestExtension {
  /** 1 when the document names none. */
  readonly schema: 1 | 2
}

/** Keys and threshold of one role. */
export interface Role {
  /** Ed25519 public keys, 64 lower-case hex, distinct. */
  readonly keys: readonly string[]
  /** How many of them have to sign. */
  readonly threshold: number
}

/** Who may sign releases and heads, as sealed by the key event log. */
export interface RoleDocument {
  /** Product it speaks for. */
  readonly product: string
  /** 1 + the number of changes along the log. */
  readonly version: number
  /** Raised to reset sequences; never falls. */
  readonly epoch: number
  /** RFC 3339, UTC, whole seconds. */
  readonly issuedAt: string
  /** RFC 3339, UTC, whole seconds; at most 400 days after `issuedAt`. */
  readonly expiresAt: string
  /** The day-to-day keys. */
  readonly roles: { readonly release: Role; readonly head: Role }
  /** Keys that count for nothing any more, not even for what is installed. Only grows. */
  readonly revokedKeys: readonly string[]
  /** Transport identities (z-base-32) that may hand out runtime keys. */
  readonly transport: readonly string[]
  /** Most days that a head counts, 1 to 30; 7 when the document states none. */
  readonly headDays?: number | undefined
  /** Releases have to be in a public log; docs/spec/manifest.md §10. */
  readonly log?: LogPolicy | undefined
  /** Members that readers have to know; one that does not know them all refuses the document. */
  readonly critical?: readonly string[] | undefined
}

/** Which log releases have to be in, and who has to have seen it. */
export interface LogPolicy {
  /** A policy of c2sp.org/tlog-policy, literally. */
  readonly policy: string
  /** Hours for which releases without a proof are still installed, 0 to 720. */
  readonly graceHours: number
}

/** Names one manifest by its literal bytes. */
export interface ManifestPin {
  /** Release version. */
  readonly version: string
  /** Sequence on the channel. */
  readonly sequence: number
  /** SHA-256 of the literal manifest, 64 lower-case hex. */
  readonly sha256: string
  /** Bytes of the literal manifest. */
  readonly length: number
}

/** Names a manifest that launchers may download before they may install it. */
export interface PreloadPin extends ManifestPin {
  /** RFC 3339, UTC, whole seconds: when the publisher means to offer it. Only another head makes it an offer. */
  readonly at: string
}

/** A staged rollout: who gets `manifest`, the rest gets `fallback`. */
export interface Rollout {
  /** 0 to 100. */
  readonly percent: number
  /** 32 lower-case hex; who is in depends on it and on the install id. */
  readonly salt: string
  /** True: nobody new is let in. */
  readonly paused: boolean
}

/** A place that serves the same tree. */
export interface Mirror {
  /** Absolute, http or https, ends in a slash. */
  readonly url: string
  /** Relative share of requests. */
  readonly weight: number
  /** `lan`: a host of the player's own network, tried before all others where it answers. */
  readonly scope?: 'lan' | undefined
}

/** What a channel offers now. */
export interface Head {
  /** Product. */
  readonly product: string
  /** Channel. */
  readonly channel: string
  /** Epoch of the role document. */
  readonly epoch: number
  /** Counts per channel, +1 for every head. */
  readonly sequence: number
  /** RFC 3339, UTC, whole seconds. */
  readonly issuedAt: string
  /**
   * RFC 3339, UTC, whole seconds; at most 30 days after `issuedAt`. A reader takes the role document's `headDays` when
   * that ends earlier.
   */
  readonly expiresAt: string
  /** An establishment event that the reader's log has to hold. */
  readonly log: { readonly sn: number; readonly said: string }
  /** The reader has to hold at least this role document. */
  readonly rolesVersion: number
  /** The release on offer. */
  readonly manifest: ManifestPin
  /** What those outside a rollout get. */
  readonly fallback?: ManifestPin | undefined
  /** Staged rollout; needs `fallback`. */
  readonly rollout?: Rollout | undefined
  /** What launchers may download beforehand. */
  readonly preload?: PreloadPin | undefined
  /** Releases that were withdrawn. */
  readonly revoked: readonly { readonly sequence: number; readonly sha256: string }[]
  /** Mirrors. */
  readonly mirrors: readonly Mirror[]
}
