export { archiveResponse, archiveStream } from './archive-response.ts'
export { httpSource } from './http-source.ts'

export type { ArchiveResponseOptions, ArchiveStreamOptions } from './archive-response.ts'
export type { HttpSourceOptions } from './http-source.ts'
export type { ZstdOptions, ZstdSource } from '../zstd-codec.ts'
