import { constants, createWriteStream } from 'node:fs'
import { lstat, mkdir, open, readdir, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createSha256, hexEncode, printable } from '@keyturn/primitives'
import { isOpenedInside, systemErrorCode } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'

/** A file of a release tree. */
export interface TreeFile {
  /** Relative, forward slashes. */
  readonly path: string
  /** Where it is. */
  readonly source: string
  readonly size: number
  readonly executable: boolean
}

/** Folder of a launcher's own files inside an install: never part of a release. */
const RESERVED = '.updates'
const READ_BYTES = 1024 * 1024

/**
 * Lists the paths of the files of a source tree, sorted by their bytes, before any work is done.
 *
 * @param folder - The tree.
 * @throws {@link PublisherError} `BUILD_SPECIAL_FILE` for what is neither file nor folder; `BUILD_EMPTY`.
 */
export async function listPaths(folder: string): Promise<string[]> {
  const paths: string[] = []
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isDirectory()) continue
    const below = join(entry.parentPath, entry.name).slice(folder.length + 1)
    if (!entry.isFile()) throw specialFile(below, entry)
    const path = below.split(sep).join('/')
    if (path !== RESERVED && !path.startsWith(`${RESERVED}/`)) paths.push(path)
  }
  if (paths.length === 0) throw new PublisherError('BUILD_EMPTY', `No file in "${folder}"`)
  const byBytes = paths.map((path) => ({ path, bytes: Buffer.from(path) }))
  return byBytes.toSorted((a, b) => Buffer.compare(a.bytes, b.bytes)).map(({ path }) => path)
}

/**
 * Lists the files of a release tree, sorted by path bytes.
 *
 * @param folder - The tree.
 * @throws {@link PublisherError} `BUILD_SPECIAL_FILE` for a link, device, socket or pipe; `BUILD_EMPTY`.
 */
export async function listTree(folder: string): Promise<TreeFile[]> {
  const files: TreeFile[] = []
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const source = join(entry.parentPath, entry.name)
    const path = source
      .slice(folder.length + 1)
      .split(sep)
      .join('/')
    if (path === RESERVED || path.startsWith(`${RESERVED}/`) || entry.isDirectory()) continue
    if (!entry.isFile()) throw specialFile(path, entry)
    const { size, mode } = await lstat(source)
    files.push({ path, source, size, executable: (mode & 0o111) !== 0 })
  }
  if (files.length === 0) throw new PublisherError('BUILD_EMPTY', `No file in "${folder}"`)
  return files.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/**
 * The SHA-256 of a file, read in pieces.
 *
 * @param file - From {@link listTree}.
 * @param signal - Stops between two pieces.
 * @returns 64 lower-case hex digits.
 * @throws {@link PublisherError} `BUILD_INPUT_CHANGED` when the file is longer or shorter than it was.
 */
export async function hashFile(file: TreeFile, signal: AbortSignal): Promise<string> {
  const hash = createSha256()
  await readInPieces(file, (piece) => hash.update(piece), signal)
  return hexEncode(hash.digest())
}

/**
 * Reads a file from its beginning to its end.
 *
 * @param file - From {@link listTree}.
 * @param take - Gets each piece; its bytes are others after the call.
 * @param signal - Stops between two pieces.
 * @throws {@link PublisherError} `BUILD_INPUT_CHANGED` when the file is longer or shorter than it was.
 */
export async function readInPieces(
  file: TreeFile,
  take: (piece: Uint8Array) => void,
  signal: AbortSignal,
): Promise<void> {
  const handle = await openFile(file)
  let length = 0
  try {
    const buffer = new Uint8Array(Math.min(READ_BYTES, file.size + 1))
    for (;;) {
      signal.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) break
      take(buffer.subarray(0, bytesRead))
      length += bytesRead
    }
  } finally {
    await handle.close()
  }
  if (length !== file.size)
    throw new PublisherError('BUILD_INPUT_CHANGED', `"${printable(file.path)}" changed while it was read`)
}

/**
 * Opens a file of a tree: the one that was listed, and not what another user of the machine put in its place or in that
 * of a folder above it.
 *
 * @param file - From {@link listTree}.
 * @throws {@link PublisherError} `BUILD_INPUT_CHANGED` for a link, or a file elsewhere.
 */
export async function openFile(file: Pick<TreeFile, 'source' | 'path'>): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const changed = (cause?: unknown): PublisherError =>
    new PublisherError('BUILD_INPUT_CHANGED', `"${printable(file.path)}" changed while it was read`, { cause })
  const handle = await open(file.source, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0)).catch((error: unknown) => {
    throw systemErrorCode(error) === 'ELOOP' ? changed(error) : error
  })
  try {
    const root = await realpath(file.source.slice(0, -file.path.length - 1))
    if (isOpenedInside(handle.fd, root, file.path)) return handle
  } catch (error) {
    await handle.close()
    throw error
  }
  await handle.close()
  throw changed()
}

/**
 * Copies a file of a tree.
 *
 * @param file - From {@link listTree}.
 * @param target - New; its folder is made.
 * @throws {@link PublisherError} as {@link openFile}.
 */
export async function copyTreeFile(
  file: Pick<TreeFile, 'source' | 'path' | 'executable'>,
  target: string,
): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  const handle = await openFile(file)
  const mode = file.executable ? 0o755 : 0o644
  // Ends both, whatever happens.
  await pipeline(handle.createReadStream(), createWriteStream(target, { mode }))
}

interface SpecialEntry {
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
}

function specialFile(path: string, entry: SpecialEntry): PublisherError {
  return new PublisherError('BUILD_SPECIAL_FILE', `"${printable(path)}" is a ${kindOf(entry)}`, {
    details: { path: printable(path) },
  })
}

function kindOf(entry: SpecialEntry): string {
  if (entry.isSymbolicLink()) return 'symbolic link'
  if (entry.isFIFO()) return 'pipe'
  return entry.isSocket() ? 'socket' : 'device'
}
