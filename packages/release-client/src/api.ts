/** What a token may be allowed to do; `admin` includes all others. */
export const scopes = [
  'admin',
  'blobs:read',
  'blobs:write',
  'releases:read',
  'releases:write',
  'releases:publish',
  'rollout:write',
  'keys:write',
  'runtime-keys:write',
  'devices:write',
  'audit:read',
  'stats:read',
] as const

/** One scope of a token. */
export type Scope = (typeof scopes)[number]

/** A product: one line of releases with its own identity. */
export interface ProductView {
  readonly slug: string
  readonly name: string
  /** The trust pin, `did:keri:<prefix>?sn=…&said=…`. */
  readonly pin: string
  readonly default_channel: string
  /** Whether the product answers at the root of the server. */
  readonly is_default: boolean
  /** Who gets runtime keys over Noise. */
  readonly runtime_key_access: 'open' | 'devices'
  /**
   * Ed25519 public keys, hex, that installs of the original launcher pin; `manifest.json.sig` has to be by one of them.
   */
  readonly pinned_keys: readonly string[]
  readonly created_at: string
  /** The accepted key event log, null until one was uploaded. */
  readonly log: { readonly sn: number; readonly said: string } | null
  /** The role document in force, null until one was sealed. */
  readonly roles: { readonly version: number; readonly sha256: string; readonly expires_at: string } | null
}

/** What creates a product. */
export interface NewProduct {
  readonly slug: string
  readonly name?: string | undefined
  readonly pin: string
  readonly default_channel?: string | undefined
  /** Default: true for the first product, false for others. */
  readonly is_default?: boolean | undefined
  readonly runtime_key_access?: 'open' | 'devices' | undefined
  /** Keys that installs of the original launcher pin; see {@link ProductView.pinned_keys}. */
  readonly pinned_keys?: readonly string[] | undefined
}

/** What may be changed about a product. */
export interface ProductChange {
  readonly name?: string | undefined
  readonly default_channel?: string | undefined
  /** Makes the product answer at the root, in place of the one before; only for tokens without limits. */
  readonly is_default?: boolean | undefined
  readonly runtime_key_access?: 'open' | 'devices' | undefined
  readonly pinned_keys?: readonly string[] | undefined
}

/** An open session of the dashboard. */
export interface SessionView {
  readonly id: string
  /** Who logged in: `token:<id>` or `oidc:<subject>`. */
  readonly actor: string
  readonly started_at: string
  readonly expires_at: string
}

/** A manifest named by version, sequence and hash, as in a head. */
export interface ManifestPointer {
  readonly version: string
  readonly sequence: number
  readonly sha256: string
  readonly length: number
}

/** A release that launchers may fetch and not install yet. */
export interface PreloadPointer extends ManifestPointer {
  /** When the publisher means to offer it, `YYYY-MM-DDTHH:MM:SSZ`. */
  readonly at: string
}

/** A channel: the pointer to what is offered now. */
export interface ChannelView {
  readonly product: string
  readonly channel: string
  /** What the current head pins, null before the first publish. */
  readonly manifest: ManifestPointer | null
  readonly head: {
    readonly sequence: number
    readonly sha256: string
    readonly issued_at: string
    readonly expires_at: string
  } | null
  readonly fallback: ManifestPointer | null
  readonly rollout: { readonly percent: number; readonly salt: string; readonly paused: boolean } | null
  /** The release that is scheduled, null without one. */
  readonly preload: PreloadPointer | null
  /** Set while a change is requested that no published head has yet. */
  readonly wanted: WantedHead | null
  readonly updated_at: string | null
  /** What everybody was offered before this release; absent on channels that an earlier version wrote. */
  readonly before?: ManifestPointer | null | undefined
}

/** Whether the documents of a channel need an access code. */
export interface ChannelAccessView {
  readonly product: string
  readonly channel: string
  readonly protected: boolean
  readonly set_at: string | null
}

/** A change that waits for a head signed by the publisher. */
export interface WantedHead {
  readonly action: 'halt' | 'resume' | 'rollout'
  readonly percent: number | null
  readonly reason: string
  readonly asked_by: string
  readonly asked_at: string
}

/** An immutable release. */
export interface ReleaseView {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly sequence: number
  readonly sha256: string
  readonly length: number
  readonly state: 'draft' | 'published' | 'retired'
  /** Kept by retention at any age. */
  readonly pinned: boolean
  readonly files: number
  readonly bytes: number
  readonly notes: string
  readonly created_at: string
  readonly created_by: string
  readonly published_at: string | null
}

/** Bytes and signatures of a new release. */
export interface NewRelease {
  /** Literal bytes of `manifest.json`. */
  readonly manifest: Uint8Array
  /** Literal bytes of `manifest.sigs.json`. */
  readonly signatures: Uint8Array
  /** 64 raw bytes of `manifest.json.sig` for the original launcher. */
  readonly legacySignature?: Uint8Array | undefined
  /**
   * The key event log that the release will be published with, and the role documents it seals, where the server has an
   * older one: the signatures are verified with them. Nothing of them is stored now.
   */
  readonly log?: Uint8Array | undefined
  /** Literal bytes of role documents, at most 16. */
  readonly roles?: readonly Uint8Array[] | undefined
}

/** What becomes current on a channel, in one step. */
export interface Publication {
  readonly version: string
  /** Literal bytes of `head.json`. */
  readonly head: Uint8Array
  /** Sequence of the head this one replaces (0: none); the call fails when another is there. */
  readonly ifHeadSequence?: number | undefined
  /** New literal bytes of `manifest.sigs.json`, when signatures were renewed. */
  readonly signatures?: Uint8Array | undefined
  /** A longer key event log, accepted in the same step. */
  readonly log?: Uint8Array | undefined
  /** Role documents that the new log seals, literal bytes. */
  readonly roles?: readonly Uint8Array[] | undefined
}

/** What a release costs a launcher that has another one. */
export interface ReleaseDiffView {
  readonly from: string
  readonly to: string
  readonly added: number
  readonly changed: number
  readonly removed: number
  readonly unchanged: number
  /** Bytes of whole blobs that are in `to` and not in `from`. */
  readonly bytes: number
  readonly files: readonly {
    readonly path: string
    readonly change: 'added' | 'changed' | 'removed'
    readonly bytes: number
  }[]
}

/** A check of one release: signatures against the role document in force, blobs against their hashes. */
export interface ReleaseCheckView {
  readonly id: string
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly state: 'running' | 'done' | 'failed'
  /** How many blobs to check, drawn at random; null: all. */
  readonly sample: number | null
  /** `valid`, or the code of the refusal; null until it was verified. */
  readonly signatures: string | null
  /** Blobs that the release needs, its manifest included. */
  readonly blobs: number
  /** Blobs read and hashed so far, and their bytes. */
  readonly checked: number
  readonly bytes: number
  /** Blobs whose bytes do not match their hash; they were set aside, and are missing from now on. */
  readonly damaged: readonly string[]
  readonly missing: readonly string[]
  /** Whether everything that was checked is correct; null until the end. */
  readonly sound: boolean | null
  /** Why a check did not finish. */
  readonly error: string | null
  readonly started_at: string
  readonly ended_at: string | null
}

/** A key that protects a product, with its age and dates. */
export interface KeyAgeView {
  readonly kind: 'identity' | 'release' | 'head' | 'content' | 'transport'
  /** `key_id`, public key in hex, device, or place in the log. */
  readonly name: string
  /** Transport identity that it belongs to; null for others. */
  readonly owner: string | null
  readonly state: 'active' | 'next' | 'retiring' | 'retired' | 'revoked' | 'unusable'
  /** When the server first saw it. */
  readonly since: string | null
  readonly age_days: number | null
  /** When its rotation is due; null when it is no longer in force. */
  readonly due: string | null
  readonly due_state: 'ok' | 'soon' | 'due' | null
  /** Until when it may be used: the end of an overlap, or of its record. */
  readonly until: string | null
}

/** A device that may, or may no longer, fetch runtime keys. */
export interface DeviceView {
  /** X25519 public key, hex. */
  readonly key: string
  /** `operator`, or the prefix of the identity that attests it. */
  readonly by: string
  readonly name: string
  /** `void`: the identity was rotated or removed since, so its statement no longer counts. */
  readonly status: 'listed' | 'struck' | 'linked' | 'revoked' | 'void'
}

/** An identity whose statements about devices count. */
export interface AttesterView {
  readonly prefix: string
  /** Place of its newest event that this server knows. */
  readonly sn: number
  readonly said: string
  readonly note: string
  readonly added_at: string
}

/** What the stores of a server hold. */
export interface StorageView {
  readonly blob_store: string
  readonly metadata_store: string
  readonly blobs: number
  readonly bytes: number
  /** What garbage collection has marked: nobody needs it, and it is deleted after the grace. */
  readonly marked_blobs: number
  readonly marked_bytes: number
  readonly open_uploads: number
  readonly open_upload_bytes: number
  /** Free space of a folder; null where the storage does not report it. */
  readonly free_bytes: number | null
  readonly counted_at: string
}

/** What is known about one blob. */
export interface BlobView {
  readonly sha256: string
  readonly size: number
  readonly created_at: string
  readonly storage: string
}

/** A token as listed: everything except its secret. */
export interface TokenView {
  readonly id: string
  readonly name: string
  readonly scopes: readonly Scope[]
  /** Products it is limited to; empty: all. */
  readonly products: readonly string[]
  /** Channels it is limited to; empty: all. */
  readonly channels: readonly string[]
  readonly created_at: string
  readonly expires_at: string
  readonly last_used_at: string | null
  readonly revoked_at: string | null
  /** Bytes of new blobs that it may upload in all; absent: any number. */
  readonly upload_quota?: number | undefined
}

/** What creates a token. */
export interface NewToken {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly products?: readonly string[] | undefined
  readonly channels?: readonly string[] | undefined
  /** Days until it expires, 1 to 400; default 90. */
  readonly days?: number | undefined
  /** Bytes of new blobs that it may upload in all; default: any number. */
  readonly upload_quota?: number | undefined
}

/** One entry of the audit log; `hash` covers the entry and the hash before it. */
export interface AuditEntry {
  readonly sequence: number
  readonly at: string
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly request_id: string
  readonly facts: Readonly<Record<string, string | number | boolean | null>>
  readonly previous: string
  readonly hash: string
}

/** One line of what launchers reported. */
export interface ReportCount {
  readonly product: string
  readonly channel: string
  readonly day: string
  readonly version: string
  readonly result: string
  readonly code: string
  readonly count: number
  readonly duration_ms: number
}

/** What was read of one version on one day. */
export interface DownloadCount {
  readonly channel: string
  readonly day: string
  readonly version: string
  /** Reads of a head that offered this version: launchers that asked what is current. */
  readonly offers: number
  /** Reads of its manifest: launchers that began to update to it. */
  readonly manifests: number
  /** Requests of its files, whole or in parts. */
  readonly blobs: number
  /** Bytes of its files that were asked for. */
  readonly bytes: number
}

/** Adoption of a product: reports of launchers that opted in, and what the server counted itself. */
export interface StatsView {
  readonly items: readonly ReportCount[]
  readonly downloads: readonly DownloadCount[]
}

/** What garbage collection found or did. */
export interface GarbageReport {
  readonly dry_run: boolean
  readonly releases_kept: number
  readonly releases_retired: readonly string[]
  readonly blobs_referenced: number
  readonly blobs_marked: number
  readonly blobs_resurrected: number
  readonly blobs_deleted: number
  readonly bytes_deleted: number
  /** Hashes that were, or would be, deleted; at most 10,000. */
  readonly deleted: readonly string[]
}

/** A page of a longer list. */
export interface Page<T> {
  readonly items: readonly T[]
  /** Pass as `cursor` for the next page; null at the end. */
  readonly cursor: string | null
}

/** Body of an error answer, RFC 9457. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail?: string | undefined
  readonly request_id: string
  /** More about single parts: missing blobs, fields. */
  readonly errors?: readonly string[] | undefined
}
