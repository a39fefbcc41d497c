export { checkCheckpoint } from './check-checkpoint.ts'
export { formatCheckpoint, parseCheckpoint, signCheckpoint, verifyCheckpoint } from './checkpoint.ts'
export { disputingWitnesses } from './disputes.ts'
export { formatEntries, parseEntries } from './entries.ts'
export { TlogError, tlogErrors } from './errors.ts'
export { followLog } from './follow.ts'
export { Frontier } from './frontier.ts'
export { askWitness, fetchCheckpoint, fetchWitnessed, httpTileSource, originHash } from './http.ts'
export {
  MAX_ENTRY_BYTES,
  MAX_EXTENSION_LINES,
  MAX_NAME_BYTES,
  MAX_NOTE_BYTES,
  MAX_POLICY_BYTES,
  MAX_POLICY_ITEMS,
  MAX_PROOF_BYTES,
  MAX_PROOF_EXTRA_BYTES,
  MAX_PROOF_HASHES,
  MAX_REQUEST_BYTES,
  MAX_SIGNATURES,
  MAX_TILE_LEVEL,
  MAX_TREE_SIZE,
  TILE_WIDTH,
} from './limits.ts'
export { EMPTY_ROOT, hashChildren, hashLeaf, verifyConsistency, verifyInclusion } from './merkle.ts'
export { formatNote, formatSignatureLine, parseNote, parseSignatureLine, verifyNote } from './note.ts'
export { meetsQuorum, operatorOf, parsePolicy, policyStrength } from './policy.ts'
export { checkProof, formatProof, parseProof, verifyProof } from './proof.ts'
export { addSignatures, seedNoteSigner, signText } from './signer.ts'
export { newTiles, parseTilePath, splitTile, tileAt, tilePath } from './tile.ts'
export { appendEntries, proveConsistency, proveInclusion, treeRoot } from './tree.ts'
export { formatVerifierKey, parseVerifierKey, verifierKey } from './verifier-key.ts'
export { formatWitnessRequest, parseWitnessRequest } from './witness-request.ts'
export { isSplitView, LogWitness, memoryWitnessStore, WitnessConflict } from './witness.ts'

export type { PolicyCheckpoint, WitnessedBy } from './check-checkpoint.ts'
export type { Checkpoint, TreeHead, VerifiedCheckpoint, VerifyCheckpointOptions } from './checkpoint.ts'
export type { TlogErrorCode } from './errors.ts'
export type { Followed } from './follow.ts'
export type { FrontierState } from './frontier.ts'
export type { TlogHttpOptions } from './http.ts'
export type { ConsistencyClaim, InclusionClaim } from './merkle.ts'
export type { NoteSignature, SignedNote, VerifiedSignature } from './note.ts'
export type { Policy, PolicyGroup, PolicyLog, PolicyStrength, PolicyWitness } from './policy.ts'
export type { CheckedProof, LogProof } from './proof.ts'
export type { NoteSigner } from './signer.ts'
export type { Tile } from './tile.ts'
export type { GrownTree, TileBytes, TileSource } from './tree.ts'
export type { KeyType, VerifierKey } from './verifier-key.ts'
export type { CheckpointPair, LogWitnessOptions, WatchedLog, WitnessedHead, WitnessStore } from './witness.ts'
export type { WitnessRequest } from './witness-request.ts'
