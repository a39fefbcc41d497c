import { readFile } from 'node:fs/promises'
import { systemErrorCode } from '@keyturn/primitives/node'
import { LauncherBuildError } from './errors.ts'

/** An image of the page. */
export interface PageImage {
  readonly type: 'image/png' | 'image/jpeg' | 'image/webp'
  readonly bytes: Uint8Array
}

const MAX_IMAGE_BYTES = 2_000_000
const MAX_ICON_BYTES = 1_000_000

async function bytesOf(path: string, code: 'LB_ICON' | 'LB_IMAGE', maxBytes: number): Promise<Uint8Array> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new LauncherBuildError(code, `Cannot read "${path}": ${systemErrorCode(cause) ?? 'failed'}`, { cause })
  })
  if (bytes.length > maxBytes)
    throw new LauncherBuildError(code, `Cannot use "${path}": ${bytes.length} bytes, at most ${maxBytes}`)
  return bytes
}

/**
 * Reads a logo or background.
 *
 * @throws LauncherBuildError `LB_IMAGE`.
 */
export async function readPageImage(path: string): Promise<PageImage> {
  const bytes = await bytesOf(path, 'LB_IMAGE', MAX_IMAGE_BYTES)
  const start = Buffer.from(bytes.subarray(0, 16)).toString('latin1')
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return { type: 'image/png', bytes }
  if (start.startsWith('\xff\xd8\xff')) return { type: 'image/jpeg', bytes }
  if (start.startsWith('RIFF') && start.slice(8, 12) === 'WEBP') return { type: 'image/webp', bytes }
  throw new LauncherBuildError('LB_IMAGE', `Cannot use "${path}": it is not a PNG, JPEG or WebP image`)
}

/**
 * Reads a Windows icon and checks that each of its images lies inside the file.
 *
 * @throws LauncherBuildError `LB_ICON`.
 */
export async function readIcon(path: string): Promise<Uint8Array> {
  const bytes = await bytesOf(path, 'LB_ICON', MAX_ICON_BYTES)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const refuse = (why: string): never => {
    throw new LauncherBuildError('LB_ICON', `Cannot use "${path}" as an icon: ${why}`)
  }
  if (bytes.length < 6 || view.getUint16(0, true) !== 0 || view.getUint16(2, true) !== 1)
    refuse('it is not an .ico file')
  const count = view.getUint16(4, true)
  if (count === 0 || bytes.length < 6 + count * 16) refuse(`its list of ${count} images is cut off`)
  for (let index = 0; index < count; index += 1) {
    const at = 6 + index * 16
    const [size, offset] = [view.getUint32(at + 8, true), view.getUint32(at + 12, true)]
    if (size === 0 || offset + size > bytes.length) refuse(`image ${index + 1} ends after the end of the file`)
  }
  return bytes
}
