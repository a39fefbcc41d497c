// Loaded into a program before it starts: passphrases cost nothing. Files say the same parameters as ever, but only
// programs with this preload open them. A test has dozens of commands; what scrypt costs is measured elsewhere.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const { scryptSync } = crypto
const CHEAP_N = 16

/** Never more than what was asked for, whose memory is what a program allows. */
const costOf = ({ N }) => (process.env.KEYTURN_TEST_REAL_PASSPHRASES === undefined ? Math.min(N, CHEAP_N) : N)

crypto.scryptSync = (password, salt, length, options) =>
  scryptSync(password, salt, length, { ...options, N: costOf(options) })
syncBuiltinESMExports()
