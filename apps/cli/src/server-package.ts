import { CliError } from './errors.ts'

const SERVER = '@keyturn/release-server'

/**
 * Loads the release server, which only `serve`, `demo` and `drill` need: a machine that only publishes does without
 * its database and HTTP libraries.
 *
 * @throws {@link CliError} `CLI_SERVER_MISSING`.
 */
export async function loadServer(): Promise<typeof import('@keyturn/release-server')> {
  try {
    return await import('@keyturn/release-server')
  } catch (cause) {
    if (!isServerMissing(cause)) throw cause
    throw new CliError('CLI_SERVER_MISSING', 'The release server is not installed beside this program', {
      cause,
      hint: `Install it: npm install ${SERVER} (with -g if this program was installed so)`,
    })
  }
}

/** The package itself, not one that it needs. */
function isServerMissing(cause: unknown): boolean {
  return (
    cause instanceof Error &&
    (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND' &&
    cause.message.includes(`'${SERVER}'`)
  )
}
