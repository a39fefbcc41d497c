// Where zstd comes from on runtimes that have none built in: written over for those by tooling/runtimes/bundled.ts.
export const zstd = undefined
