export {
  openAes256Gcm,
  openChaCha20Poly1305,
  openXChaCha20Poly1305,
  sealAes256Gcm,
  sealChaCha20Poly1305,
  sealXChaCha20Poly1305,
} from './aead.ts'
export type { AeadOptions, AeadOutputOptions } from './aead.ts'
export { x25519, x25519PublicKey } from './agreement.ts'
export { requireBytes, requireIterable, requireList, requireMembers, requireText } from './arguments.ts'
export { backendName } from './backend-name.ts'
export { compareBytes, concatBytes, equalBytes, Reader, Writer } from './bytes.ts'
export { collectBytes } from './collect-bytes.ts'
export { ContentCutter } from './content-cutter.ts'
export { dssePae } from './dsse.ts'
export {
  base64Decode,
  base64Encode,
  base64urlDecode,
  base64urlEncode,
  hexDecode,
  hexEncode,
  utf8Decode,
  utf8Encode,
  z32Decode,
  z32Encode,
} from './encodings.ts'
export { exitCodes, KeyturnError, PrimitivesError, primitivesErrors, printable } from './errors.ts'
export { formatBytes } from './format-bytes.ts'
export {
  blake2b256,
  blake2b512,
  blake3,
  createBlake2b256,
  createSha256,
  hmacSha256,
  hmacSha512,
  sha256,
  sha256Hex,
  sha512,
} from './hash.ts'
export { isRecord } from './is-record.ts'
export { canonicalJson, parseStrictJson } from './json.ts'
export { hkdfSha256, hkdfSha512, scrypt } from './kdf.ts'
export { OneAtATime } from './one-at-a-time.ts'
export { SecretBytes, systemClock, systemRandom, wipe } from './secret.ts'
export {
  ED25519_KEY_LENGTH,
  ED25519_SIGNATURE_LENGTH,
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  isStrongEd25519PublicKey,
} from './signature.ts'

export type { RunningHash, ScryptParameters } from './backend/backend.ts'
export type { NumberBounds, ReadErrorFactory, ReadProblem } from './bytes.ts'
export type { PieceLengths } from './content-cutter.ts'
export type { ErrorCatalogue, ErrorContext, ErrorExplanation, ErrorKind, PrimitivesErrorCode } from './errors.ts'
export type { JsonItems, JsonObject, JsonValue, StrictJsonOptions } from './json.ts'
export type { Clock, RandomSource } from './secret.ts'
