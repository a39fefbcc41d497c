import { spawn } from 'node:child_process'
import { KelError } from '../errors.ts'

/** How the git program ended. */
export interface GitResult {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

/** Variables that would point git elsewhere than the repository that was named. */
const misleading = ['GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE', 'GIT_OBJECT_DIRECTORY', 'GIT_NAMESPACE']

function environment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0' }
  for (const name of misleading) delete env[name]
  return env
}

/**
 * Runs git in a repository.
 *
 * @param repo - Path of the repository or its work tree.
 * @param args - Arguments; never taken through a shell.
 * @param input - Bytes for its standard input.
 * @throws {@link KelError} `KEL_IO` when git cannot be started.
 */
export function runGit(repo: string, args: readonly string[], input?: Uint8Array): Promise<GitResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', ['-C', repo, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env: environment() })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.once('error', (cause) =>
      reject(new KelError('KEL_IO', 'Cannot run git', { hint: 'Install git and put it on PATH', cause })),
    )
    child.once('close', (code) =>
      resolve({ code: code ?? -1, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString().trim() }),
    )
    // git may end before it has read everything; its exit code says why.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}

/** Runs git and insists that it succeeds. */
export async function git(repo: string, args: readonly string[], input?: Uint8Array): Promise<Buffer> {
  const { code, stdout, stderr } = await runGit(repo, args, input)
  if (code !== 0)
    throw new KelError('KEL_IO', `git ${args[0] ?? ''} failed: ${stderr.slice(0, 500)}`, { details: { code } })
  return stdout
}

/**
 * Reads many objects with one `git cat-file --batch`.
 *
 * @param names - Revisions or paths in them, `<commit>:event` for instance.
 * @returns One entry per name; undefined for what does not exist.
 */
export async function readObjects(repo: string, names: readonly string[]): Promise<(Uint8Array | undefined)[]> {
  if (names.length === 0) return []
  const output = await git(repo, ['cat-file', '--batch'], Buffer.from(`${names.join('\n')}\n`))
  const objects: (Uint8Array | undefined)[] = []
  let offset = 0
  while (offset < output.length) {
    const lineEnd = output.indexOf(0x0a, offset)
    const header = output.subarray(offset, lineEnd).toString()
    const size = header.endsWith(' missing') ? undefined : Number(header.split(' ')[2])
    objects.push(size === undefined ? undefined : new Uint8Array(output.subarray(lineEnd + 1, lineEnd + 1 + size)))
    offset = lineEnd + 1 + (size === undefined ? 0 : size + 1)
  }
  return objects
}
