export { parseRuntimeKeyBlob, RUNTIME_KEY_BLOB_LENGTH, RUNTIME_KEY_BLOB_MAGIC, writeRuntimeKeyBlob } from './blob.ts'
export { RuntimeKeyError, runtimeKeyErrors } from './errors.ts'
export {
  EXCHANGE_ANSWER_LENGTH,
  EXCHANGE_HEADER_LENGTH,
  EXCHANGE_PROTOCOLS,
  EXCHANGE_REQUEST_LENGTHS,
  exchangePrologue,
  KEY_ANSWER_LENGTH,
  KEY_REQUEST_LENGTH,
  openKeyAnswer,
  parseExchangeRequest,
  parseKeyRequest,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyAnswer,
  writeKeyRequest,
} from './exchange.ts'
export { DEFAULT_MAPPING_NAME, MAX_RUNTIME_KEY_JSON_BYTES, parseRuntimeKeyJson, writeRuntimeKeyJson } from './json.ts'
export { assertKeyIdMatches, assertListed } from './matching.ts'
export { keyCommitment, MAX_KEY_ID, RuntimeKey } from './runtime-key.ts'

export type { RuntimeKeyErrorCode } from './errors.ts'
export type { ExchangeHeader, ExchangePattern, ExchangeRefusal, KeyAnswer, KeyRequest } from './exchange.ts'
export type { WriteRuntimeKeyJsonOptions } from './json.ts'
export type { ContentKeyEntry } from './matching.ts'
export type { RuntimeKeyParts } from './runtime-key.ts'
