import { findModeProblems } from '@keyturn/primitives/node'
import type { HomeSession } from '../home-session.ts'
import type { RestFinding } from './check-rest.ts'

/** Files with secrets, or with what only the owner may change; the folder of the server has a check of its own. */
const SECRET = [
  /^(?:keystore|next-identity\.keystore|home\.json|kills\.json)(?:\.previous)?$/,
  /^(?:transport\/contacts\.json|vault\/vault\.key)$/,
  /^identities\/.*keystore(?:\.previous)?$/,
]
/** Release trees have the modes of the source they were made from. */
const LEFT_OUT = /^(?:server|trees)\/|(?:^|[./])lock$/

/** Files of the home that its owner cannot use, or that others can read or change. */
export async function checkModes({ paths }: HomeSession): Promise<RestFinding[]> {
  const problems = await findModeProblems(paths.folder, {
    isSecret: (path) => path === '' || SECRET.some((pattern) => pattern.test(path)),
    isLeftOut: (path) => LEFT_OUT.test(path),
  })
  const words = {
    owner: 'belongs to another user',
    unreadable: 'cannot be read by its owner',
    open: 'is open to others',
  }
  return problems.map(({ path, problem, mode, fix }) => ({
    level: 'error',
    message: `"${path}" ${words[problem]} (mode ${mode.toString(8)})`,
    fix,
  }))
}
