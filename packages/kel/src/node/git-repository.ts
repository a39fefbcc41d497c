import { randomBytes } from 'node:crypto'
import { concatBytes, utf8Encode } from '@keyturn/primitives'
import { KelError } from '../errors.ts'
import {
  git,
  gitFailure,
  listRefs,
  listTree,
  readCommits,
  readGitObjects,
  readTrees,
  refuseBorrowedObjects,
  resolveRef,
  runGit,
} from './git.ts'
import type { GitRef } from './git.ts'

const author = 'Keyturn <kel@keyturn.invalid>'

/** One file of a new commit. */
interface CommitFile {
  readonly path: string
  readonly bytes: Uint8Array
}

/** A commit to be written. */
interface NewCommit {
  readonly files: readonly CommitFile[]
  readonly message: string
  readonly atMs: number
  readonly parent: string | undefined
  /** Keep the files of the parent that are not named. */
  readonly keep?: boolean
}

/** A change of one ref: from `old` (undefined: it must not exist) to `id`. */
interface RefChange {
  readonly ref: string
  readonly id: string
  readonly old: string | undefined
}

/** A repository that logs are kept in: what they need of git, and no more. */
export class GitRepository {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  async resolve(ref: string): Promise<string | undefined> {
    return await resolveRef(this.#path, ref)
  }

  /** Trees of the commits from the first one to `tip`; merges are refused. */
  async chain(tip: string): Promise<readonly { commit: string; tree: string }[]> {
    const ids = (await git(this.#path, ['rev-list', '--reverse', tip])).toString().trim().split('\n')
    const commits = await readCommits(this.#path, ids)
    return commits.map(({ tree, parents }, place) => {
      const commit = ids[place] as string
      const before = place === 0 ? [] : [ids[place - 1]]
      if (parents.length !== before.length || parents[0] !== before[0])
        throw new KelError('KEL_CORRUPT', `Commit ${commit} of the log has other parents than the commit before it`)
      return { commit, tree }
    })
  }

  /** The files directly in each tree, with the ids of their blobs. */
  async trees(ids: readonly string[]): Promise<readonly ReadonlyMap<string, string>[]> {
    return await readTrees(this.#path, ids)
  }

  async blobs(ids: readonly string[]): Promise<readonly Uint8Array[]> {
    return (await readGitObjects(this.#path, ids)).map(({ bytes }) => bytes)
  }

  async refs(pattern: string): Promise<readonly GitRef[]> {
    return await listRefs(this.#path, pattern)
  }

  /** Files of a commit by name, with the ids of their blobs. */
  async files(commit: string): Promise<ReadonlyMap<string, string>> {
    const [read] = await readCommits(this.#path, [commit])
    return read === undefined ? new Map() : await listTree(this.#path, read.tree)
  }

  /** Writes a commit that only a temporary ref holds; returns its id and that ref. */
  async write(commit: NewCommit): Promise<{ id: string; temporary: string }> {
    await refuseBorrowedObjects(this.#path)
    const temporary = `refs/keyturn-tmp/${randomBytes(12).toString('hex')}`
    const input = importStream(commit, temporary)
    const out = await git(this.#path, ['fast-import', '--quiet', '--done'], { input, writes: true })
    return { id: out.toString().trim(), temporary }
  }

  /**
   * Moves refs in one transaction, each only if it still is where it was.
   *
   * @returns False when another process was first.
   */
  async swap(changes: readonly RefChange[], temporaries: readonly string[]): Promise<boolean> {
    const lines = [
      'start',
      ...changes.map(({ ref, id, old }) => (old === undefined ? `create ${ref} ${id}` : `update ${ref} ${id} ${old}`)),
      ...temporaries.map((ref) => `delete ${ref}`),
      'prepare',
      'commit',
      '',
    ]
    const args = ['update-ref', '--no-deref', '--stdin']
    const result = await runGit(this.#path, args, { input: utf8Encode(lines.join('\n')), writes: true })
    if (result.code === 0) return true
    await runGit(this.#path, args, {
      input: utf8Encode(temporaries.map((ref) => `delete ${ref}\n`).join('')),
      writes: true,
    })
    if (await this.#hasMoved(changes)) return false
    // The lock of a ref is held for the moment in which another process moves it.
    if (/File exists/.test(result.stderr)) return false
    throw gitFailure(args, result)
  }

  /** Whether a ref is not where a change expected it. A ref that cannot be read is an error, not a move. */
  async #hasMoved(changes: readonly RefChange[]): Promise<boolean> {
    for (const { ref, old } of changes) if ((await this.resolve(ref)) !== old) return true
    return false
  }
}

function importStream({ files, message, atMs, parent, keep }: NewCommit, ref: string): Uint8Array {
  const text = utf8Encode(message)
  const when = `${author} ${Math.floor(atMs / 1000)} +0000`
  const parts: Uint8Array[] = []
  const line = (content: string): void => void parts.push(utf8Encode(`${content}\n`))
  const counted = (bytes: Uint8Array): void =>
    void parts.push(utf8Encode(`data ${bytes.length}\n`), bytes, utf8Encode('\n'))
  files.forEach(({ bytes }, at) => {
    line('blob')
    line(`mark :${at + 1}`)
    counted(bytes)
  })
  const mark = files.length + 1
  line(`commit ${ref}`)
  line(`mark :${mark}`)
  line(`author ${when}`)
  line(`committer ${when}`)
  counted(text)
  if (parent !== undefined) line(`from ${parent}`)
  if (keep !== true) line('deleteall')
  files.forEach(({ path }, at) => line(`M 100644 :${at + 1} ${path}`))
  line(`get-mark :${mark}`)
  line('done')
  return concatBytes(...parts)
}
