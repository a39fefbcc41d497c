import type { PublishReport } from '@keyturn/publisher/release'
import type { Context } from '../../command.ts'

/**
 * Says that the server did not take the runtime key of a release, and the command that tries again: players without a
 * key file could not start it.
 */
export function warnOfKey({ warn }: Pick<Context, 'warn'>, channel: string, report: PublishReport | undefined): void {
  const problem = report?.runtimeKeys?.problem
  if (report === undefined || problem === undefined) return
  warn(
    `The server does not deliver the runtime key of release ${report.version}: ${problem}. ` +
      `Once that is fixed, run "keyturn release publish --channel ${channel}"`,
  )
}
