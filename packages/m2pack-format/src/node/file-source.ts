import { requireText } from '@keyturn/primitives'
import { nodeFileSystem, onDisk } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import type { ByteSource } from '../source.ts'

/** An open file as a source. Close it. */
export interface FileSource extends ByteSource {
  /** The open file, for threads that read by themselves. */
  readonly descriptor: number
  /** Closes the file. */
  close(): Promise<void>
}

async function readFully(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) return bytes.subarray(0, done)
    done += bytesRead
  }
  return bytes
}

/**
 * Opens a file for reading.
 *
 * @throws `PRIM_FILE` of `PrimitivesError`.
 */
export async function openFileSource(path: string, fs: FileSystem = nodeFileSystem): Promise<FileSource> {
  requireText(path, 'path')
  const handle = await onDisk('Cannot open', path, () => fs.open(path, 'r'))
  try {
    const { size } = await onDisk('Cannot read', path, () => handle.stat())
    return {
      size,
      descriptor: handle.fd,
      read: (offset, length) => onDisk('Cannot read', path, () => readFully(handle, offset, length)),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** The descriptor behind a source that is a file of this process, else `undefined`. */
export function descriptorOf(source: ByteSource): number | undefined {
  return 'descriptor' in source && typeof source.descriptor === 'number' ? source.descriptor : undefined
}
