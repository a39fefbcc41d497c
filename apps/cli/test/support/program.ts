import { fileURLToPath } from 'node:url'
// What programs write with cheap passphrases, commands that run in the process of the test have to open.
import './cheap-passphrase.mjs'

const isCi = process.env['CI'] !== undefined

/**
 * The command line as tests start it: in CI what was just built, which starts in half the time; elsewhere the sources,
 * which are never stale.
 */
export const MAIN: string = fileURLToPath(
  new URL(isCi ? '../../dist/programs/keyturn.js' : '../../src/main.ts', import.meta.url),
)

/** `keyturn-server`, as {@link MAIN}. */
export const SERVER: string = fileURLToPath(
  new URL(`../../../release-server/${isCi ? 'dist/main.js' : 'src/main.ts'}`, import.meta.url),
)

/**
 * What tests add to the environment of every program they start: passphrases that cost nothing, and compiled code that
 * all of them share.
 */
export const TEST_ENVIRONMENT: Readonly<Record<string, string>> = {
  NODE_NO_WARNINGS: '1',
  NODE_OPTIONS: `--import=${new URL('cheap-passphrase.mjs', import.meta.url).href}`,
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../../../../node_modules/.cache/keyturn-tests', import.meta.url)),
}
