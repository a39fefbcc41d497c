import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { access } from 'node:fs/promises'
import { resolve as resolvePath } from 'node:path'
import { printable } from '@keyturn/primitives'
import { KelError } from '../errors.ts'

// The one place of the workspace that runs git. A repository may belong to somebody hostile: its configuration, hooks,
// refs and objects are input. So git gets a bare environment and settings that the repository cannot override, it never
// reaches the network, and every object is hashed again before it is used.

/** How the git program ended. */
export interface GitResult {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

/** Options of `runGit`. */
export interface GitOptions {
  /** Bytes for its standard input. */
  readonly input?: Uint8Array | undefined
  /** True for a command that writes: everything it writes is flushed to disk before it ends. */
  readonly writes?: boolean | undefined
  /** Most bytes of output, default 256 MiB. */
  readonly maxBytes?: number | undefined
}

const MAX_OUTPUT_BYTES = 256 * 1024 * 1024

/**
 * What of this process's environment git may see: where programs, homes and temporary files are, and the settings that
 * the user chose. Nothing else, and so no secret and none of the variables of `git rev-parse --local-env-vars`, which
 * point git to another repository, other objects or other settings.
 */
const PASSED_ON = [
  'PATH',
  'PATHEXT',
  'HOME',
  'USERPROFILE',
  'HOMEDRIVE',
  'HOMEPATH',
  'APPDATA',
  'PROGRAMDATA',
  'SYSTEMROOT',
  'WINDIR',
  'COMSPEC',
  'TMPDIR',
  'TEMP',
  'TMP',
  'USER',
  'LOGNAME',
  'USERNAME',
  'XDG_CONFIG_HOME',
  'GIT_EXEC_PATH',
  'GIT_CONFIG_GLOBAL',
  'GIT_CONFIG_SYSTEM',
  'GIT_CONFIG_NOSYSTEM',
  'GIT_AUTHOR_NAME',
  'GIT_AUTHOR_EMAIL',
  'GIT_COMMITTER_NAME',
  'GIT_COMMITTER_EMAIL',
]

const HARDENED_ENVIRONMENT = {
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_PAGER: 'cat',
  GIT_EDITOR: 'false',
  // A replaced object or a graft would show another commit under the name that was asked for.
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_GRAFT_FILE: process.platform === 'win32' ? 'NUL' : '/dev/null',
  // A missing object must be an error, never a reason to run a remote helper. The list of allowed protocols overrides
  // whatever the repository allows; older gits know only this variable.
  GIT_NO_LAZY_FETCH: '1',
  GIT_ALLOW_PROTOCOL: 'none',
}

const HARDENED_SETTINGS = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  // A commit graph is a cache that may claim parents which the commits do not have.
  'core.commitGraph=false',
  'core.warnAmbiguousRefs=false',
  'gc.auto=0',
  'maintenance.auto=false',
]

const WRITING_SETTINGS = ['core.fsync=all', 'core.fsyncMethod=fsync', 'commit.gpgSign=false']

function environment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const [name, value] of Object.entries(process.env)) if (PASSED_ON.includes(name.toUpperCase())) env[name] = value
  return { ...env, ...HARDENED_ENVIRONMENT }
}

/**
 * Runs git in a repository that is not trusted: no hooks, no network, no replaced objects, no settings from the
 * environment.
 *
 * @param repo - Path of the repository or its work tree.
 * @param args - Arguments; never taken through a shell.
 * @throws {@link KelError} `KEL_IO` when git cannot be started, `KEL_LIMIT` when it prints too much.
 */
export function runGit(repo: string, args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const { input, writes = false, maxBytes = MAX_OUTPUT_BYTES } = options
  const settings = [...HARDENED_SETTINGS, ...(writes ? WRITING_SETTINGS : [])].flatMap((setting) => ['-c', setting])
  return new Promise((resolve, reject) => {
    const child = spawn('git', ['-C', repo, '--no-pager', ...settings, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environment(),
      windowsHide: true,
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let byteCount = 0
    child.stdout.on('data', (chunk: Buffer) => {
      byteCount += chunk.length
      if (byteCount > maxBytes) child.kill('SIGKILL')
      else stdout.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < 64) stderr.push(chunk)
    })
    child.once('error', (cause) =>
      reject(new KelError('KEL_IO', 'Cannot run git', { hint: 'Install git and put it on PATH', cause })),
    )
    child.once('close', (code) => {
      if (byteCount > maxBytes)
        reject(new KelError('KEL_LIMIT', `git ${args[0] ?? ''} printed more than ${maxBytes} bytes`))
      else resolve({ code: code ?? -1, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString().trim() })
    })
    // git may end before it has read everything; its exit code says why.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}

/** The error for a git command that failed, with what git said. */
export function gitFailure(args: readonly string[], { code, stderr }: GitResult): KelError {
  const dubious = /dubious ownership/.test(stderr)
  return new KelError('KEL_IO', `git ${args[0] ?? ''} failed: ${printable(stderr.slice(0, 500))}`, {
    details: { code },
    hint: dubious
      ? 'The repository belongs to another user: run as that user, or add it to safe.directory of git'
      : undefined,
  })
}

/**
 * Runs git and insists that it succeeds.
 *
 * @throws {@link KelError} `KEL_IO`, `KEL_LIMIT`.
 */
export async function git(repo: string, args: readonly string[], options?: GitOptions): Promise<Buffer> {
  const result = await runGit(repo, args, options)
  if (result.code !== 0) throw gitFailure(args, result)
  return result.stdout
}

/** A ref and the id of the object that it names. */
export interface GitRef {
  readonly ref: string
  readonly id: string
}

const ID_FORM = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/

/**
 * Lists refs below a folder (`refs/keri/`) or the one ref of exactly that name.
 *
 * @throws {@link KelError} `KEL_CORRUPT` when a ref is damaged or points to another ref, `KEL_IO` when the repository
 *   cannot be read. So an empty answer means that there is no such ref.
 */
export async function listRefs(repo: string, pattern: string): Promise<readonly GitRef[]> {
  const args = ['for-each-ref', '--format=%(objectname)%00%(refname)%00%(symref)', pattern]
  const result = await runGit(repo, args)
  if (result.code !== 0) throw gitFailure(args, result)
  // git passes over a ref that it cannot read, and says so on the side.
  if (/ignoring|broken|bad ref|error:/i.test(result.stderr))
    throw new KelError('KEL_CORRUPT', `A ref below "${pattern}" is damaged: ${printable(result.stderr.slice(0, 300))}`)
  return result.stdout
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id = '', ref = '', target = ''] = line.split('\0')
      if (target !== '') throw new KelError('KEL_CORRUPT', `Ref "${printable(ref)}" points to another ref`)
      if (!ID_FORM.test(id)) throw new KelError('KEL_CORRUPT', `Ref "${printable(ref)}" names no object`)
      return { id, ref }
    })
}

/** The object that a ref names; undefined when there is no such ref, and only then. */
export async function resolveRef(repo: string, ref: string): Promise<string | undefined> {
  const found = (await listRefs(repo, ref)).find((one) => one.ref === ref)
  if (found !== undefined) return found.id
  // git does not list a ref to another ref that does not exist.
  const { code } = await runGit(repo, ['symbolic-ref', '--quiet', ref])
  if (code === 0) throw new KelError('KEL_CORRUPT', `Ref "${printable(ref)}" points to another ref`)
  return undefined
}

/**
 * Finds a commit by any name that git knows, for instance `HEAD` or a tag.
 *
 * @throws {@link KelError} `KEL_IO` when there is no such commit.
 */
export async function resolveCommit(repo: string, revision: string): Promise<string> {
  const args = ['rev-parse', '--verify', '--end-of-options', `${revision}^{commit}`]
  const id = (await git(repo, args)).toString().trim()
  if (!ID_FORM.test(id)) throw new KelError('KEL_IO', `"${printable(revision)}" names no commit`)
  return id
}

/** An object of git, its content proved to be what its id names. */
export interface GitObject {
  readonly type: 'commit' | 'tree' | 'blob' | 'tag'
  readonly bytes: Uint8Array
}

/**
 * Reads objects by their ids and hashes each one again: git itself takes what a pack or a loose file holds for the
 * object of that name.
 *
 * @param ids - Object ids, 40 or 64 hexadecimal digits.
 * @throws {@link KelError} `KEL_CORRUPT` when one is missing or does not hash to its id.
 */
export async function readGitObjects(repo: string, ids: readonly string[]): Promise<readonly GitObject[]> {
  if (ids.length === 0) return []
  const wrong = ids.find((id) => !ID_FORM.test(id))
  if (wrong !== undefined) throw new TypeError('An object id has 40 or 64 hexadecimal digits')
  const args = ['cat-file', '--batch']
  const result = await runGit(repo, args, { input: Buffer.from(`${ids.join('\n')}\n`) })
  const output = result.stdout
  let offset = 0
  return ids.map((id) => {
    const lineEnd = output.indexOf(0x0a, offset)
    // A damaged object ends the command before its answer.
    if (lineEnd < 0)
      throw new KelError('KEL_CORRUPT', `Object ${id} cannot be read: ${printable(result.stderr.slice(0, 300))}`)
    const [found, type, size] = output.subarray(offset, lineEnd).toString().split(' ')
    const length = Number(size)
    if (found !== id || type === 'missing' || !Number.isSafeInteger(length))
      throw new KelError('KEL_CORRUPT', `Object ${id} is missing from the repository`)
    const bytes = new Uint8Array(output.subarray(lineEnd + 1, lineEnd + 1 + length))
    offset = lineEnd + 1 + length + 1
    const hash = createHash(id.length === 40 ? 'sha1' : 'sha256')
      .update(`${type} ${length}\0`)
      .update(bytes)
    if (bytes.length !== length || hash.digest('hex') !== id)
      throw new KelError('KEL_CORRUPT', `Object ${id} does not hash to its id`)
    return { type: type as GitObject['type'], bytes }
  })
}

/** What a commit says about its place: the tree and the commits before it. */
export interface GitCommit {
  readonly tree: string
  readonly parents: readonly string[]
  /** The whole object. */
  readonly bytes: Uint8Array
}

/** Reads commits by their ids. */
export async function readCommits(repo: string, ids: readonly string[]): Promise<readonly GitCommit[]> {
  const objects = await readGitObjects(repo, ids)
  return objects.map(({ type, bytes }, at) => {
    const head = new TextDecoder('latin1').decode(bytes)
    const lines = head.slice(0, head.indexOf('\n\n')).split('\n')
    const tree = /^tree ([0-9a-f]+)$/.exec(lines[0] ?? '')?.[1]
    if (type !== 'commit' || tree === undefined)
      throw new KelError('KEL_CORRUPT', `Object ${ids[at] ?? ''} is not a commit`)
    const parents: string[] = []
    for (const line of lines.slice(1)) {
      const parent = /^parent ([0-9a-f]+)$/.exec(line)?.[1]
      if (parent === undefined) break
      parents.push(parent)
    }
    return { tree, parents, bytes }
  })
}

/** An entry of a tree. */
interface TreeEntry {
  readonly name: string
  readonly id: string
  readonly isFolder: boolean
}

function parseTree({ type, bytes }: GitObject, id: string): readonly TreeEntry[] {
  if (type !== 'tree') throw new KelError('KEL_CORRUPT', `Object ${id} is not a tree`)
  const idLength = id.length / 2
  const entries: TreeEntry[] = []
  for (let offset = 0; offset < bytes.length;) {
    const space = bytes.indexOf(0x20, offset)
    const zero = bytes.indexOf(0, space)
    const end = zero + 1 + idLength
    if (space < 0 || zero < 0 || end > bytes.length) throw new KelError('KEL_CORRUPT', `Tree ${id} is cut short`)
    entries.push({
      name: new TextDecoder().decode(bytes.subarray(space + 1, zero)),
      id: Buffer.from(bytes.subarray(zero + 1, end)).toString('hex'),
      isFolder: bytes[offset] === 0x34,
    })
    offset = end
  }
  return entries
}

/** Files directly in a tree, by name, with the ids of their blobs. */
export async function readTrees(repo: string, ids: readonly string[]): Promise<readonly ReadonlyMap<string, string>[]> {
  const objects = await readGitObjects(repo, ids)
  return objects.map(
    (object, at) =>
      new Map(
        parseTree(object, ids[at] as string).flatMap(({ name, id, isFolder }) =>
          isFolder ? [] : [[name, id] as const],
        ),
      ),
  )
}

/** The folder at a path below a tree, as the id of its tree; undefined when there is none. */
export async function findFolder(repo: string, tree: string, path: string): Promise<string | undefined> {
  let id: string | undefined = tree
  for (const part of path.split('/')) {
    const [object] = await readGitObjects(repo, [id])
    id = parseTree(object as GitObject, id).find(({ name, isFolder }) => isFolder && name === part)?.id
    if (id === undefined) return undefined
  }
  return id
}

/** Files anywhere below a tree, by their path. */
export async function listTree(repo: string, tree: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  let level: { path: string; id: string }[] = [{ path: '', id: tree }]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > 64) throw new KelError('KEL_CORRUPT', `Tree ${tree} is nested too deeply`)
    const objects = await readGitObjects(
      repo,
      level.map(({ id }) => id),
    )
    level = level.flatMap(({ path, id }, at) =>
      parseTree(objects[at] as GitObject, id).flatMap((entry) => {
        const below = `${path}${entry.name}`
        if (entry.isFolder) return [{ path: `${below}/`, id: entry.id }]
        files.set(below, entry.id)
        return []
      }),
    )
  }
  return files
}

/**
 * Refuses to write into a repository that borrows objects from another one: what git finds there it does not write
 * here, and the log would vanish with the other repository.
 *
 * @throws {@link KelError} `KEL_IO`.
 */
export async function refuseBorrowedObjects(repo: string): Promise<void> {
  const path = (await git(repo, ['rev-parse', '--git-path', 'objects/info/alternates'])).toString().trim()
  const found = await access(resolvePath(repo, path)).then(
    () => true,
    () => false,
  )
  if (found)
    throw new KelError('KEL_IO', `Repository "${printable(repo)}" borrows objects from another one (alternates)`, {
      hint: 'Run "git repack -a -d" in it and remove objects/info/alternates',
    })
}
