export { findKills, formatKill, parseKill, readKills, signKill, writeKills } from './kill.ts'

export type { FoundKills, KillNotice, SignedKill } from './kill.ts'
