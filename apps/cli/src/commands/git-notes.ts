import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'

const run = promisify(execFile)
const MAX_OUTPUT = 256 * 1024 * 1024

/** Notes that carry statements about commits. */
export const notesRef = 'refs/notes/keyturn'

async function git(repo: string, args: readonly string[]): Promise<Buffer> {
  try {
    const { stdout } = await run('git', ['-C', repo, ...args], { encoding: 'buffer', maxBuffer: MAX_OUTPUT })
    return stdout
  } catch (cause) {
    const detail = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
    throw new CliError('CLI_USAGE', `git ${args[0] ?? ''} failed: ${printable(detail)}`, { cause })
  }
}

function digestOf(object: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(object).digest())
}

/** A commit: its id, and the SHA-256 of its raw object, which is what statements and seals speak about. */
export interface Commit {
  readonly id: string
  readonly digest: Uint8Array
}

/** Finds a commit by any name git knows. */
export async function readCommit(repo: string, revision: string): Promise<Commit> {
  const id = (await git(repo, ['rev-parse', '--verify', '--end-of-options', `${revision}^{commit}`])).toString().trim()
  return { id, digest: digestOf(await git(repo, ['cat-file', 'commit', id])) }
}

/** The signature file kept as a note of a commit; undefined when there is none. */
export async function readNote(repo: string, id: string): Promise<Uint8Array | undefined> {
  const notes = (await git(repo, ['notes', '--ref', notesRef, 'list'])).toString()
  return notes.includes(id) ? new Uint8Array(await git(repo, ['notes', '--ref', notesRef, 'show', id])) : undefined
}

/** Keeps a signature file as a note of a commit. */
export async function writeNote(repo: string, id: string, envelope: Uint8Array): Promise<void> {
  await git(repo, ['notes', '--ref', notesRef, 'add', '-f', '-m', new TextDecoder().decode(envelope), id])
}

/**
 * Digests of every commit that a commit is an ancestor of: git's own graph gives the order, without a clock. Two
 * processes, however long the history.
 */
export async function descendantDigests(repo: string, id: string): Promise<readonly Uint8Array[]> {
  const list = (await git(repo, ['rev-list', '--ancestry-path', '--all', `^${id}`]))
    .toString()
    .split('\n')
    .filter((line) => line !== '')
  return await hashCommits(repo, list)
}

function hashCommits(repo: string, ids: readonly string[]): Promise<Uint8Array[]> {
  if (ids.length === 0) return Promise.resolve([])
  return new Promise((resolve, reject) => {
    const child = spawn('git', ['-C', repo, 'cat-file', '--batch'], { stdio: ['pipe', 'pipe', 'ignore'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.once('error', reject)
    child.once('close', () => resolve(splitBatch(Buffer.concat(chunks))))
    child.stdin.end(`${ids.join('\n')}\n`)
  })
}

/** Takes the output of `git cat-file --batch` apart: a line with the size, the object, a line end. */
function splitBatch(output: Buffer): Uint8Array[] {
  const digests: Uint8Array[] = []
  let offset = 0
  while (offset < output.length) {
    const lineEnd = output.indexOf(0x0a, offset)
    const size = Number(output.subarray(offset, lineEnd).toString().split(' ')[2])
    if (!Number.isInteger(size)) break
    digests.push(digestOf(output.subarray(lineEnd + 1, lineEnd + 1 + size)))
    offset = lineEnd + 1 + size + 1
  }
  return digests
}
