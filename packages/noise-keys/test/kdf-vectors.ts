import { ownVectors } from './support.ts'

/** `vectors/noise-kdf.json`. */
export interface KdfVectors {
  kdf_v2: { seed: string; context_hex: string; ed25519_pk: string; x25519_sk: string; x25519_pk: string }[]
  kdf_v1_device_epoch: {
    seed: string
    device_id_hex: string
    epoch: number
    accepted_since_2026_01: boolean
    x25519_sk: string
    x25519_pk: string
  }[]
  kdf_v0_prehistoric: {
    form: string
    seed: string
    device_id_hex: string
    epoch: number
    x25519_sk: string
    x25519_pk: string
  }[]
  noise_seed: {
    ed25519_sk: string
    device_id_hex: string
    noise_seed: string
    then_v1_epoch0_sk: string
    then_v1_epoch0_pk: string
  }[]
  binding: {
    ed25519_sk: string
    ed25519_pk: string
    device_id: string
    x25519_pk: string
    preimage_hex: string
    sig: string
    txt_unsigned: string
    txt: string
    ts: number
    txt_ts: string
    txt_revoked: string
    storage_path: string
    dns_label: string
  }[]
  txt_parse: {
    name: string
    txt: string
    device_id: string
    ed25519_pk: string
    now: number
    max_age?: number
    legacy_verify?: string
    legacy_verify_expiry_30d: string
    strict: string
  }[]
  identity_payload: {
    scheme: string
    name: string
    ed25519_sk: string
    local_x25519: string
    role: string
    remote_x25519: string | null
    pattern_tag?: string
    prologue_hex?: string
    epoch?: number
    server_hint?: string | null
    expires_at?: number | null
    digest: string
    sig: string
    json?: string
  }[]
  nn_attestation: {
    ed25519_sk: string
    local_ephemeral: string
    remote_ephemeral: string
    digest: string
    sig: string
  }[]
  low_order_x25519_public_keys_must_be_refused: string[]
  transcripts: {
    label: string
    protocol_name: string
    prologue_utf8: string
    init_ephemeral: string
    resp_ephemeral?: string
    init_static?: string
    resp_static?: string
    handshake_hash_is_session_id: string
    messages: { from: string; payload_utf8: string; message: string }[]
    transport: { from: string; plaintext_utf8?: string; payload_utf8?: string; message?: string; ciphertext?: string }[]
  }[]
}

export const kdfVectors = ownVectors<KdfVectors>('noise-kdf.json')
