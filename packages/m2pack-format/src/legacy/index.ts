export { openEterPack } from './eterpack.ts'
export { openPck } from './pck.ts'

export type { LegacyFile, LegacyPack } from './legacy-pack.ts'
export type { PckOptions } from './pck.ts'
