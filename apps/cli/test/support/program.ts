import { fileURLToPath } from 'node:url'

/**
 * The command line as tests start it: in CI what was just built, which starts in half the time; elsewhere the sources,
 * which are never stale.
 */
export const MAIN: string = fileURLToPath(
  new URL(process.env['CI'] === undefined ? '../../src/main.ts' : '../../dist/programs/keyturn.js', import.meta.url),
)
