import { createReadStream } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { printable, utf8Decode, utf8Encode, Writer } from '@keyturn/primitives'
import { isLockFile } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import { ByteQueue } from './container.ts'

// The files of a home as one stream: for each u16 path length ‖ path ‖ u32 mode ‖ u64 size ‖ bytes; a length of 0 ends
// it.

/** Folders that are left out unless all is asked for: they can be made again, or have a backup of their own. */
const LARGE = ['server', 'trees', 'reports', 'cache']
/** What a backup holds. */
export interface BackupCount {
  files: number
  bytes: number
}

/**
 * Streams the files of a home.
 *
 * @param home - The folder.
 * @param everything - The server's storage and release trees too.
 * @param count - Counts what was written.
 */
export async function* streamHome(home: string, everything: boolean, count: BackupCount): AsyncGenerator<Uint8Array> {
  const entries = (await readdir(home, { withFileTypes: true, recursive: true })).filter((entry) => entry.isFile())
  const paths = entries
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(home.length + 1)
        .split(sep)
        .join('/'),
    )
    .toSorted()
  for (const path of paths) {
    const top = path.split('/')[0] ?? ''
    if (isLockFile(path) || (!everything && LARGE.includes(top))) continue
    const { size, mode } = await lstat(join(home, path))
    const name = utf8Encode(path)
    yield new Writer()
      .u16le(name.length)
      .bytes(name)
      .u32le(mode & 0o777)
      .u64le(BigInt(size))
      .finish()
    let read = 0
    for await (const piece of createReadStream(join(home, path)) as AsyncIterable<Uint8Array>) {
      read += piece.length
      yield piece
    }
    if (read !== size) throw new PublisherError('BUILD_INPUT_CHANGED', `"${path}" changed while the backup was made`)
    count.files += 1
    count.bytes += size
  }
  yield new Writer().u16le(0).finish()
}

/**
 * Reads such a stream; with a folder, writes its files there.
 *
 * @param stream - From {@link streamHome}, authenticated.
 * @param folder - Where to write; undefined only checks.
 * @throws {@link PublisherError} `CLI_BACKUP` when it is not such a stream.
 */
export async function readHomeStream(
  stream: AsyncIterable<Uint8Array>,
  folder: string | undefined,
): Promise<BackupCount> {
  const source = new ByteQueue(stream)
  const count: BackupCount = { files: 0, bytes: 0 }
  for (;;) {
    const length = view(await exactly(source, 2)).getUint16(0, true)
    if (length === 0) break
    const path = checkedPath(utf8Decode(await exactly(source, length)))
    const fixed = view(await exactly(source, 12))
    const size = Number(fixed.getBigUint64(4, true))
    await copyFile(
      source,
      size,
      folder === undefined ? undefined : join(folder, path),
      fixed.getUint32(0, true) & 0o777,
    )
    count.files += 1
    count.bytes += size
  }
  if (!(await source.isEmpty())) throw new PublisherError('CLI_BACKUP', 'Something follows the end of the backup')
  return count
}

const PIECE_BYTES = 1024 * 1024

async function copyFile(source: ByteQueue, size: number, path: string | undefined, mode: number): Promise<void> {
  if (path !== undefined) await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const handle = path === undefined ? undefined : await open(path, 'wx', 0o600)
  try {
    for (let left = size; left > 0;) {
      const piece = await exactly(source, Math.min(left, PIECE_BYTES))
      await handle?.writeFile(piece)
      left -= piece.length
    }
    await handle?.sync()
  } finally {
    await handle?.close()
  }
  if (path !== undefined) await chmod(path, mode)
}

async function exactly(source: ByteQueue, length: number): Promise<Uint8Array> {
  const bytes = await source.take(length)
  if (bytes.length !== length) throw new PublisherError('CLI_BACKUP', 'The backup ends in the middle of a file')
  return bytes
}

/** The stream is authenticated; this stops a backup made by somebody else's program all the same. */
function checkedPath(path: string): string {
  const parts = path.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part))) {
    throw new PublisherError('CLI_BACKUP', `The backup holds an impossible path: "${printable(path)}"`)
  }
  return path
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
