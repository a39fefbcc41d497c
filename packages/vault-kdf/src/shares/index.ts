export { combineShares, describeShare, sharedPassphrase, splitSecret } from './split.ts'
export type { KeyShare } from './share.ts'
export type { CombinedShares, SplitOptions } from './split.ts'
