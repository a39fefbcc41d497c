import { concatBytes, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { KelError } from '../errors.ts'
import { readFrame } from '../stream.ts'
import { git, readObjects, runGit } from './git.ts'

// auths keeps its events re-formatted. The bytes that were signed are compact and in field order, so they are made
// again here; if that is not what was signed, the SAID says so when the log is verified.
const fieldOrder = ['v', 't', 'd', 'i', 's', 'p', 'kt', 'k', 'nt', 'n', 'bt', 'b', 'br', 'ba', 'c', 'a', 'di']

function compact(json: Uint8Array): Uint8Array {
  const value = parseStrictJson(json, { maxBytes: 256 * 1024 })
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new KelError('KEL_CORRUPT', 'Stored event is no object')
  const known = fieldOrder.filter((name) => Object.hasOwn(value, name))
  const rest = Object.keys(value).filter((name) => !fieldOrder.includes(name))
  return utf8Encode(JSON.stringify(Object.fromEntries([...known, ...rest].map((name) => [name, value[name]]))))
}

async function lines(repo: string, args: readonly string[]): Promise<readonly string[]> {
  const { code, stdout } = await runGit(repo, args)
  return code === 0
    ? stdout
        .toString()
        .split('\n')
        .filter((line) => line !== '')
    : []
}

/** The registry layout: one tree for every identity, one file per event. */
async function readRegistry(repo: string, prefix: string): Promise<Uint8Array | undefined> {
  const ref = 'refs/auths/registry'
  const folder = `v1/identities/${prefix.slice(0, 2)}/${prefix.slice(2, 4)}/${prefix}/events`
  const names = (await lines(repo, ['ls-tree', '--name-only', `${ref}:${folder}`]))
    .filter((name) => /^\d{8}\.json$/.test(name))
    .sort()
  if (names.length === 0) return undefined
  const objects = await readObjects(
    repo,
    names.flatMap((name) => [
      `${ref}:${folder}/${name}`,
      `${ref}:${folder}/${name.replace('.json', '.attachments.cesr')}`,
    ]),
  )
  return concatBytes(
    ...names.flatMap((_, at) => [
      compact(objects[2 * at] ?? new Uint8Array(0)),
      objects[2 * at + 1] ?? new Uint8Array(0),
    ]),
  )
}

/** The legacy layout: one commit per event with a single blob. */
async function readChain(repo: string, prefix: string): Promise<Uint8Array | undefined> {
  for (const ref of [`refs/did/keri/${prefix}/kel`, 'refs/keri/kel']) {
    const commits = await lines(repo, ['rev-list', '--reverse', '--first-parent', ref])
    if (commits.length === 0) continue
    const objects = await readObjects(
      repo,
      commits.flatMap((commit) => [`${commit}:event.cesr`, `${commit}:event.json`]),
    )
    const messages = commits.map((commit, at) => {
      const [cesr, json] = [objects[2 * at], objects[2 * at + 1]]
      if (cesr !== undefined) return cesr
      if (json === undefined) throw new KelError('KEL_CORRUPT', `Commit ${commit} of the log holds no event`)
      return compact(json)
    })
    const [first] = messages
    if (first === undefined) continue
    const { i } = JSON.parse(new TextDecoder().decode(readFrame(first, 0).body)) as { i: string }
    if (i === prefix) return concatBytes(...messages)
  }
  return undefined
}

/**
 * Reads a log that auths wrote, in either of its layouts, as a CESR stream for `verifyLog()`. Read only: nothing is
 * ever written into these places.
 *
 * @param repo - The repository that auths uses.
 * @throws {@link KelError} `KEL_IO` when there is no log of this identity, `KEL_CORRUPT`.
 */
export async function readAuthsLog(repo: string, prefix: string): Promise<Uint8Array> {
  await git(repo, ['rev-parse', '--git-dir'])
  const stream = (await readRegistry(repo, prefix)) ?? (await readChain(repo, prefix))
  if (stream === undefined) throw new KelError('KEL_IO', `No auths log of ${prefix} in the repository`)
  return stream
}
