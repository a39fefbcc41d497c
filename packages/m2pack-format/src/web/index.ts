export { httpSource } from './http-source.ts'
export { setZstdUrl } from '../zstd-portable.ts'

export type { HttpSourceOptions } from './http-source.ts'
