export { chunkDigest, parseChunkIndex, writeChunkIndex } from './chunk-index.ts'
export { ChunkIndexer } from './chunk-indexer.ts'
export { chunkParams, chunkParamsFor, MIN_INDEXED_BYTES } from './params.ts'
export { planDelta } from './plan-delta.ts'

export type { ChunkIndex, ExpectedIndex } from './chunk-index.ts'
export type { ChunkParams } from './params.ts'
export type { DeltaCopy, DeltaPlan, DeltaRange, DeltaSeed, PlanDeltaOptions } from './plan-delta.ts'
