import { PublisherError } from '../errors.ts'
import type { HomeDescription } from '../home.ts'
import type { Project } from './project.ts'

/**
 * Refuses a project that names another server than the one in use. A project comes with its source, from anyone who
 * wrote it: it may name the server, but not where a token goes, nor where players are sent.
 *
 * @param server - The server that a person named; undefined for that of the home.
 * @throws {@link PublisherError} `CLI_USAGE`.
 */
export function checkProjectServer(server: string | undefined, project: Project, home: HomeDescription): void {
  const used = server ?? home.server
  if (project.server === undefined) return
  const same = used !== undefined && URL.canParse(used) && new URL(used).origin === new URL(project.server).origin
  if (same) return
  throw new PublisherError(
    'CLI_USAGE',
    `The project is published on ${project.server}, this home publishes on ${used ?? 'none'}`,
    {
      hint: `Give --server ${project.server} if you trust the project`,
    },
  )
}
