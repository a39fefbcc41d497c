import { join, resolve } from 'node:path'
import { pathExists } from '@keyturn/primitives/node'
import type { HomeSession } from '@keyturn/publisher'
import type { Finding } from '@keyturn/publisher/health'
import { agentProblem } from '../agent/left-behind.ts'
import { toKeyturnError } from '../errors.ts'
import type { Context } from '../command.ts'
import { loadServer } from '../server-package.ts'

/** What is looked at besides the home. */
interface PlaceOptions {
  readonly data?: string | undefined
  readonly deep: boolean
}

/** The folder of `keyturn serve`: modes, records, log of releases, blobs, token, what the head signer remembers. */
export async function checkServerPlace(
  context: Context,
  { paths }: HomeSession,
  { data, deep }: PlaceOptions,
): Promise<Finding[]> {
  const folder = data === undefined ? paths.server : resolve(data)
  const found = { check: 'server-folder', level: 'error' } as const
  if (!(await pathExists(folder)))
    return data === undefined
      ? []
      : [{ ...found, message: `"${folder}" is not there`, mend: 'keyturn doctor --data DIR, with the right folder' }]
  try {
    const { checkServerFolder } = await loadServer()
    const problems = await checkServerFolder(folder, { deep, signal: context.signal })
    if (problems.length === 0)
      return [
        {
          ...found,
          level: 'ok',
          message: `records, log of releases and blobs in "${folder}" belong together`,
          mend: '',
        },
      ]
    const fixes = {
      modes: 'chmod u+rw',
      records: 'keyturn restore FILE, of a backup that was made with --all',
      blobs: `keyturn-server --data '${folder}' fsck; keyturn release publish`,
      token: `rm '${join(folder, 'publisher.token')}'; the next "keyturn serve" makes another`,
      'head-signer': 'keyturn restore FILE, of a backup that was made with --all',
    }
    return problems.map(({ part, message, fix, path }) => ({
      ...found,
      message,
      mend: fix ?? (part === 'head-signer' && path !== undefined ? `rm '${path}'` : fixes[part]),
    }))
  } catch (thrown) {
    context.signal.throwIfAborted()
    const { message, code, hint } = toKeyturnError(thrown)
    return [{ ...found, message: `${message} (${code})`, mend: hint ?? 'keyturn restore FILE' }]
  }
}

/** What `keyturn unlock` left behind when its process was killed, or what keeps it from working. */
export async function checkAgentPlace(context: Context): Promise<Finding[]> {
  const problem = await agentProblem(context)
  return problem === undefined
    ? []
    : [{ check: 'agent', level: problem.level, message: problem.message, mend: problem.fix }]
}
