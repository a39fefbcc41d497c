import { setFlagsFromString } from 'node:v8'

// Left alone, V8 takes memory for speed that the launcher has no use for: an install of 54,000 files peaks at 238 MiB
// while it is read, with these at 180, for the same processor time (docs/decisions/0073).
setFlagsFromString('--semi-space-growth-factor=1')
setFlagsFromString('--heap-growing-percent=30')
