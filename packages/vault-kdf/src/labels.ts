/**
 * Every domain label of this package: one purpose, one label, and each carries its version.
 * docs/spec/vault-kdf.md §3.
 */
export const labels = {
  /** Salt of the partition tier; HexVault extracts with an empty one, so the two never meet. */
  extractSalt: 'hxv1',
  partition: 'hxv1/partition',
  erasablePartition: 'hxv1/erasable-partition',
  partitionSecret: 'hxv1/partition-secret',
  partitionWrap: 'hxv1/partition-wrap',
  partitionDigest: 'hxv1/partition-digest',
  partitionMac: 'hxv1/partition-mac',
  commit: 'hxv1/commit',
  layer: 'hxv1/layer',
  fingerprint: 'hxv1/fingerprint',
  hedge: 'hxv1/hedge',
  stream: 'hxv1/stream',
  shareCheck: 'hxv1/share-check',
  streamSecret: 'hxv1/stream-secret',
  blindIndex: 'hxv1/blind-index',
  blindIndexSecret: 'hxv1/blind-index-secret',
  sidecar: 'hxv1/sidecar',
  auditMac: 'hxv1/audit-mac',
  auditRecord: 'hxv1/audit-record',
  auditName: 'hxv1/audit-name',
  auditCheckpoint: 'hxv1/audit-checkpoint',
  keyringMac: 'hxv1/keyring-mac',
  wrap: 'hxv1/wrap',
  randomSecret: 'hxv1/random-secret',
  passphraseCheck: 'hxv1/passphrase-check',
} as const
