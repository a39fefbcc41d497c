/** Every domain label of this package, each with its version: a key has one purpose. docs/spec/noise-keys.md */
export const LABELS = {
  /** HKDF salt of the seed guide's derivation (generation G2). */
  deriveContext: 'pubky-noise-x25519:v2',
  /** HKDF salt, and hash prefix before that, of the deployed derivation (G1, G0). */
  deriveDeviceEpoch: 'pubky-noise-x25519:v1',
  /** HKDF salt of the seed that replaces the identity key (G1+). */
  noiseSeed: 'paykit-noise-seed-v1',
  /** Prefix of the hash that binds a key to identity and device. */
  binding: 'pubky-noise-pkarr-binding-v1:',
  /** Prefix of the signed text of a record with state. */
  record: 'pubky-noise-key-record-v2',
  /** Prefix of the signed text of a key list. */
  keyList: 'pubky-noise-key-list-v1',
  /** Prefix of the NN attestation. */
  nnAttestation: 'pubky-noise-nn-attestation-v1:',
} as const
