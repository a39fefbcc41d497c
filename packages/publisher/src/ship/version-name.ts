import { KelError } from '@keyturn/kel'
import { git } from '@keyturn/kel/node'
import { nextVersion } from '@keyturn/manifest/publish'
import { PublisherError } from '../errors.ts'
import type { Project } from '../project/project.ts'

/**
 * The version that a release of a project gets when nobody names one: what git says, where the project wants that, else
 * the day with the next number.
 *
 * @param project - The project.
 * @param nowMs - Now.
 * @param newest - Version of the newest release of the channel.
 * @throws {@link PublisherError} `CLI_USAGE` when the settings of the git repository would run programs; KelError
 *   `KEL_GIT`.
 */
export async function projectVersion(project: Project, nowMs: number, taken: readonly string[]): Promise<string> {
  return project.version === 'git' ? await describeCommit(project.folder) : nextVersion(nowMs, taken)
}

/**
 * What `git describe --dirty` says. A comparison with the work tree runs the filters that the repository's own settings
 * name, which are programs of the folder's author: such a repository is refused, and submodules are not entered.
 */
async function describeCommit(folder: string): Promise<string> {
  const described = (await git(folder, ['describe', '--tags', '--always'])).toString('utf8').trim()
  const filters = await gitOrOne(folder, ['config', '--show-scope', '--name-only', '--get-regexp', FILTER_PROGRAM])
  if (/^(local|worktree)\t/m.test(filters ?? ''))
    throw new PublisherError('CLI_USAGE', `The settings of the git repository at "${folder}" name filter programs`, {
      hint: 'Give --version-name, or move the filters to your own settings (git config --global)',
    })
  const compare = ['diff', '--quiet', '--no-ext-diff', '--no-textconv', '--ignore-submodules=dirty', 'HEAD', '--']
  return (await gitOrOne(folder, compare)) === undefined ? `${described}-dirty` : described
}

const FILTER_PROGRAM = '^filter\\..*\\.(clean|process)$'

/** What git prints; `undefined` when it ends with 1, its "no". */
async function gitOrOne(folder: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return (await git(folder, args)).toString('utf8')
  } catch (error) {
    if (error instanceof KelError && error.details?.['code'] === 1) return undefined
    throw error
  }
}
