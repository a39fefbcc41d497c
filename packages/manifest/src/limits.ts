const KIB = 1024
const MIB = 1024 * KIB
const DAY_MS = 24 * 60 * 60 * 1000

/** Named limits of every document, as docs/spec/manifest.md states them. */
export const limits = {
  /** Key event log, bytes. */
  logBytes: 4 * MIB,
  /** Role document, bytes. */
  rolesBytes: 64 * KIB,
  /** Head with its envelope, bytes. */
  headBytes: 16 * KIB,
  /** `kills.json`, bytes. */
  killsBytes: 64 * KIB,
  /** `<version>.tlog-proof`, bytes: 2 KiB is usual. */
  proofBytes: 16 * KIB,
  /** Log policy of a role document, characters. */
  policyText: 16 * 1024,
  /** Most hours of grace for releases without a proof. */
  maxGraceHours: 720,
  /** Hours of grace when the role document states none. */
  graceHours: 48,
  /** Kill notices of one product. */
  kills: 64,
  /** `manifest.sigs.json`, bytes. */
  signaturesBytes: 64 * KIB,
  /** `manifest.json.sig`, bytes: raw, hex or base64 with a line feed. */
  legacySignatureBytes: 256,
  /** `manifest.json`, bytes. */
  manifestBytes: 64 * MIB,
  /** Files of one manifest. */
  files: 200_000,
  /** Path, bytes of UTF-8. */
  pathBytes: 4096,
  /** One part of a path, bytes of UTF-8: what common file systems hold. */
  pathPartBytes: 255,
  /** Release notes, bytes of UTF-8. */
  notesBytes: 256 * KIB,
  /** One blob, bytes. */
  blobBytes: 64 * 1024 * MIB,
  /** One chunk index, bytes. */
  indexBytes: 16 * MIB,
  /** Nesting of any JSON. */
  jsonDepth: 16,
  /** Keys of one role. */
  roleKeys: 16,
  /** Entries of `revoked_keys`, `transport`, `content_keys`, `critical`, `mirrors`, `revoked`. */
  listEntries: 1024,
  /** Entries of `delete` and `keep`. */
  pathListEntries: 200_000,
  /** Signatures of one envelope. */
  signatures: 64,
  /** Validity of a head, whatever the role document allows. */
  headValidityMs: 30 * DAY_MS,
  /** Days that a head counts when the role document states no `head_days`. */
  headDays: 7,
  /** Most days that `head_days` may state. */
  maxHeadDays: 30,
  /** Components of one manifest. */
  components: 1024,
  /** Validity of a manifest. */
  manifestValidityMs: 400 * DAY_MS,
  /** Validity of a role document. */
  rolesValidityMs: 400 * DAY_MS,
  /** How far a sequence may be ahead of the last one accepted. */
  sequenceJump: 100_000,
  /** How far `issued_at` may be ahead of the clock here. */
  futureSkewMs: 5 * 60 * 1000,
} as const
