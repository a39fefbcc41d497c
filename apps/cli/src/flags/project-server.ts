import type { HomeSession } from '@keyturn/publisher'
import type { Project } from '@keyturn/publisher/release'
import { CliError } from '../errors.ts'

/**
 * A project comes with its source, from anyone who wrote it: it may name the server, but not where a token
 * goes, nor where players are sent.
 */
export function checkProjectServer(server: string | undefined, project: Project, home: HomeSession): void {
  const used = server ?? home.description.server
  if (project.server === undefined) return
  const same = used !== undefined && URL.canParse(used) && new URL(used).origin === new URL(project.server).origin
  if (same) return
  throw new CliError(
    'CLI_USAGE',
    `The project is published on ${project.server}, this home publishes on ${used ?? 'none'}`,
    {
      hint: `Give --server ${project.server} if you trust the project`,
    },
  )
}
