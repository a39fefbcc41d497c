import {
  canonicalJson,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  hexDecode,
  hexEncode,
  hkdfSha256,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { labels } from '../labels.ts'
import { lengthPrefixed } from '../length-prefixed.ts'
import { KEY_BYTES } from '../limits.ts'

/** A signed statement of where the chain stood. Kept elsewhere, it shows the loss of whatever came before it. */
export interface Checkpoint {
  readonly vaultId: string
  /** Last record of the chain when it was signed. */
  readonly seq: number
  /** Hash of that record. */
  readonly head: string
  readonly time: string
  /** Records by key version, as the store counted them then. */
  readonly census: JsonObject
  /** Ed25519 over the canonical JSON of the rest, 128 hex digits. */
  readonly signature: string
}

/** What a checkpoint says, unsigned. */
export type CheckpointStatement = Omit<Checkpoint, 'signature'>

/** Who signs checkpoints. */
export interface CheckpointSigner {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>
}

/** The signer of a vault that brings none of its own: a key derived from the audit secret. */
export function auditSecretSigner(auditSecret: Uint8Array): CheckpointSigner {
  const seedOf = (): Uint8Array =>
    hkdfSha256(auditSecret, new Uint8Array(0), lengthPrefixed(labels.auditCheckpoint), KEY_BYTES)
  const seed = seedOf()
  const publicKey = ed25519PublicKey(seed)
  wipe(seed)
  return {
    publicKey,
    sign(message) {
      const key = seedOf()
      try {
        return ed25519Sign(key, message)
      } finally {
        wipe(key)
      }
    },
  }
}

function message(statement: CheckpointStatement): Uint8Array {
  const { vaultId, seq, head, time, census } = statement
  return lengthPrefixed(labels.auditCheckpoint, canonicalJson({ vault_id: vaultId, seq, head, time, census }))
}

/** Signs a statement. */
export async function signCheckpoint(statement: CheckpointStatement, signer: CheckpointSigner): Promise<Checkpoint> {
  return { ...statement, signature: hexEncode(await signer.sign(message(statement))) }
}

/** Whether the signature of a checkpoint is that of `publicKey`. */
export function checkpointHolds(checkpoint: Checkpoint, publicKey: Uint8Array): boolean {
  return ed25519Verify(publicKey, message(checkpoint), hexDecode(checkpoint.signature))
}

/** A checkpoint as canonical JSON. */
export function writeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { vaultId, ...rest } = checkpoint
  return utf8Encode(canonicalJson({ ...rest, vault_id: vaultId }))
}

/** Parses a checkpoint. @throws VaultError `VK_AUDIT_BROKEN`. */
export function parseCheckpoint(bytes: Uint8Array): Checkpoint {
  const json = parseStrictJson(bytes)
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) {
    const { vault_id: vaultId, seq, head, time, census, signature } = json
    if (
      typeof vaultId === 'string' &&
      typeof seq === 'number' &&
      typeof head === 'string' &&
      typeof time === 'string' &&
      typeof signature === 'string' &&
      /^[0-9a-f]{128}$/.test(signature) &&
      typeof census === 'object' &&
      census !== null &&
      !Array.isArray(census)
    ) {
      return { vaultId, seq, head, time, census, signature }
    }
  }
  throw new VaultError('VK_AUDIT_BROKEN', 'Cannot read checkpoint: it lacks a member')
}
