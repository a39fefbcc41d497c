import { concatBytes, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { KelError } from '../errors.ts'
import { readFrame } from '../stream.ts'
import { findFolder, git, readCommits, readGitObjects, readTrees, resolveRef } from './git.ts'

// auths keeps its events re-formatted. The bytes that were signed are compact and in field order, so they are made
// again here; if that is not what was signed, the SAID says so when the log is verified.
const fieldOrder = ['v', 't', 'd', 'i', 's', 'p', 'kt', 'k', 'nt', 'n', 'bt', 'b', 'br', 'ba', 'c', 'a', 'di']

function compact(json: Uint8Array): Uint8Array {
  const value = parseStrictJson(json, { maxBytes: 256 * 1024 })
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new KelError('KEL_CORRUPT', 'Stored event is not an object')
  const known = fieldOrder.filter((name) => Object.hasOwn(value, name))
  const rest = Object.keys(value).filter((name) => !fieldOrder.includes(name))
  return utf8Encode(JSON.stringify(Object.fromEntries([...known, ...rest].map((name) => [name, value[name]]))))
}

/** The one ref of the registry layout. */
export const REGISTRY_REF = 'refs/auths/registry'

/** Where an identity is in the tree of the registry. */
export function registryFolder(prefix: string): string {
  return `v1/identities/${prefix.slice(0, 2)}/${prefix.slice(2, 4)}/${prefix}`
}

/** The registry layout: one tree for every identity, one file per event. */
export async function readRegistry(
  repo: string,
  prefix: string,
  tip: string | undefined,
): Promise<Uint8Array | undefined> {
  if (tip === undefined) return undefined
  const [commit] = await readCommits(repo, [tip])
  const path = `${registryFolder(prefix)}/events`
  const folder = commit === undefined ? undefined : await findFolder(repo, commit.tree, path)
  if (folder === undefined) return undefined
  const [files] = (await readTrees(repo, [folder])) as [ReadonlyMap<string, string>]
  const names = [...files.keys()].filter((name) => /^\d{8}\.json$/.test(name)).sort()
  if (names.length === 0) return undefined
  const parts = names.flatMap((name) => {
    const attachments = files.get(name.replace('.json', '.attachments.cesr'))
    return [
      { id: files.get(name) as string, json: true },
      ...(attachments === undefined ? [] : [{ id: attachments, json: false }]),
    ]
  })
  const objects = await readGitObjects(
    repo,
    parts.map(({ id }) => id),
  )
  return concatBytes(...objects.map(({ bytes }, at) => (parts[at]?.json === true ? compact(bytes) : bytes)))
}

/** Commits from the first one to the tip along first parents. */
async function firstParents(repo: string, tip: string): Promise<readonly { id: string; tree: string }[]> {
  const ids = (await git(repo, ['rev-list', '--reverse', '--first-parent', tip])).toString().trim().split('\n')
  const commits = await readCommits(repo, ids)
  return commits.map(({ tree, parents }, place) => {
    if (parents[0] !== (place === 0 ? undefined : ids[place - 1]))
      throw new KelError('KEL_CORRUPT', `Commit ${ids[place] ?? ''} of the log does not follow the one before it`)
    return { id: ids[place] as string, tree }
  })
}

/** The legacy layout: one commit per event with a single blob. */
async function readChain(repo: string, prefix: string): Promise<Uint8Array | undefined> {
  for (const ref of [`refs/did/keri/${prefix}/kel`, 'refs/keri/kel']) {
    const tip = await resolveRef(repo, ref)
    if (tip === undefined) continue
    const commits = await firstParents(repo, tip)
    const trees = await readTrees(
      repo,
      commits.map(({ tree }) => tree),
    )
    const found = trees.map((files, at) => {
      const cesr = files.get('event.cesr')
      const id = cesr ?? files.get('event.json')
      if (id === undefined)
        throw new KelError('KEL_CORRUPT', `Commit ${commits[at]?.id ?? ''} of the log holds no event`)
      return { id, json: cesr === undefined }
    })
    const objects = await readGitObjects(
      repo,
      found.map(({ id }) => id),
    )
    const messages = objects.map(({ bytes }, at) => (found[at]?.json === true ? compact(bytes) : bytes))
    const [first] = messages
    if (first === undefined) continue
    const { i } = JSON.parse(new TextDecoder().decode(readFrame(first, 0).body)) as { i: string }
    if (i === prefix) return concatBytes(...messages)
  }
  return undefined
}

/**
 * Reads a log that auths wrote, in either of its layouts, as a CESR stream for `verifyLog()`.
 *
 * @param repo - The repository that auths uses.
 * @throws {@link KelError} `KEL_LOG_MISSING` when there is no log of this identity; `KEL_CORRUPT`, `KEL_IO`.
 */
export async function readAuthsLog(repo: string, prefix: string): Promise<Uint8Array> {
  await git(repo, ['rev-parse', '--git-dir'])
  const stream =
    (await readRegistry(repo, prefix, await resolveRef(repo, REGISTRY_REF))) ?? (await readChain(repo, prefix))
  if (stream === undefined) throw new KelError('KEL_LOG_MISSING', `No auths log of ${prefix} in the repository`)
  return stream
}
