import { createHash } from 'node:crypto'
import { KelError } from '@keyturn/kel'
import { git, listTree, readCommits, readGitObjects, resolveCommit, resolveRef } from '@keyturn/kel/node'
import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'

/** Notes that carry statements about commits. */
export const notesRef = 'refs/notes/keyturn'

function digestOf(object: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(object).digest())
}

/** A commit: its id, and the SHA-256 of its raw object, which is what statements and seals refer to. */
export interface Commit {
  readonly id: string
  readonly digest: Uint8Array
}

/** Finds a commit by any name git knows, and proves that its content is what its id names. */
export async function readCommit(repo: string, revision: string): Promise<Commit> {
  const id = await named(repo, revision)
  const [commit] = await readCommits(repo, [id])
  if (commit === undefined) throw new CliError('CLI_USAGE', `There is no commit ${id}`)
  return { id, digest: digestOf(commit.bytes) }
}

async function named(repo: string, revision: string): Promise<string> {
  try {
    return await resolveCommit(repo, revision)
  } catch (cause) {
    if (!(cause instanceof KelError) || cause.code !== 'KEL_IO' || cause.hint !== undefined) throw cause
    throw new CliError('CLI_USAGE', `Cannot find commit "${printable(revision)}": ${cause.message}`, { cause })
  }
}

/** The signature file kept as a note of a commit; undefined when there is none. */
export async function readNote(repo: string, id: string): Promise<Uint8Array | undefined> {
  const tip = await resolveRef(repo, notesRef)
  if (tip === undefined) return undefined
  const [commit] = await readCommits(repo, [tip])
  const files = commit === undefined ? new Map<string, string>() : await listTree(repo, commit.tree)
  // git spreads many notes over folders: the id is the path without its slashes.
  const note = [...files].find(([path]) => path.replaceAll('/', '') === id)
  const [object] = note === undefined ? [] : await readGitObjects(repo, [note[1]])
  return object?.bytes
}

/** Keeps a signature file as a note of a commit. */
export async function writeNote(repo: string, id: string, envelope: Uint8Array): Promise<void> {
  await git(repo, ['notes', '--ref', notesRef, 'add', '-f', '-F', '-', id], { input: envelope, writes: true })
}

/**
 * Digests of all descendants of a commit. The order comes from git's own graph, not from a clock. git lists the
 * commits; each is hashed again, and counts only if one of its parents is the commit or a descendant that was proved.
 */
export async function descendantDigests(repo: string, id: string): Promise<readonly Uint8Array[]> {
  const list = (await git(repo, ['rev-list', '--topo-order', '--reverse', '--ancestry-path', '--all', `^${id}`]))
    .toString()
    .split('\n')
    .filter((line) => line !== '')
  const commits = await readCommits(repo, list)
  const proved = new Set([id])
  return commits.flatMap(({ parents, bytes }, at) => {
    if (!parents.some((parent) => proved.has(parent))) return []
    proved.add(list[at] as string)
    return [digestOf(bytes)]
  })
}
