import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { hexDecode } from '@keyturn/primitives'
import type { BuildFile, ContentKey } from '../../src/index.ts'
import { memorySource } from '../../src/index.ts'

/** How the vectors describe a file's bytes. */
export type Content = { hex: string } | { lines: number } | { zeros: number } | { stream: string; size: number }

export interface VectorEntry {
  path: string
  offset: number
  size: number
  sha256: string
  slot: number
  compression: 0 | 1
  segments: { stored: number; nonce: string }[]
  file_key: string
  content: Content
}

export interface VectorArchive {
  file: string
  bytes: number
  sha256: string
  key_id: number
  content_key: string
  slots: Record<string, string>
  slots_in_archive: number[]
  options: {
    level: number
    segment_size: number
    align?: number
    ymir_prefix?: boolean
    previous?: string
    full?: boolean
    rewrap?: string
  }
  byte_equal: boolean
  entries: VectorEntry[]
}

export interface Vectors {
  signing_seed: string
  public_key: string
  archives: VectorArchive[]
  steps: Record<string, string | number>[]
  rewrap_difference: { before: string; after: string; differing_bytes: number; at_most: number }
}

/** Folder of the independent vectors beside the checkout; absent elsewhere. */
export const vectorFolder = fileURLToPath(new URL('../../../../../shared/vectors/m2pack/', import.meta.url))
export const haveVectors = existsSync(vectorFolder)
if (!haveVectors) console.info('skipped: the vectors of an independent implementation are not here')

export function loadVectors(): Vectors {
  return JSON.parse(readFileSync(`${vectorFolder}m2pack.json`, 'utf8')) as Vectors
}

export function vectorBytes(file: string): Uint8Array {
  return new Uint8Array(readFileSync(vectorFolder + file))
}

export function contentBytes(content: Content): Uint8Array {
  if ('hex' in content) return hexDecode(content.hex)
  if ('zeros' in content) return new Uint8Array(content.zeros)
  if ('lines' in content) {
    let text = ''
    for (let index = 0; index < content.lines; index++) text += `line ${index} of the keyturn vectors\n`
    return new TextEncoder().encode(text)
  }
  const bytes = new Uint8Array(content.size)
  const label = Buffer.from(content.stream)
  for (let counter = 0, at = 0; at < bytes.length; counter++, at += 32) {
    const block = Buffer.alloc(4)
    block.writeUInt32LE(counter)
    bytes.set(
      createHash('sha256')
        .update(label)
        .update(block)
        .digest()
        .subarray(0, bytes.length - at),
      at,
    )
  }
  return bytes
}

export function contentKeyOf(archive: VectorArchive): ContentKey {
  return { keyId: archive.key_id, key: hexDecode(archive.content_key) }
}

export function slotsOf(archive: VectorArchive): Map<number, Uint8Array> {
  return new Map(Object.entries(archive.slots).map(([number, secret]) => [Number(number), hexDecode(secret)]))
}

export function filesOf(archive: VectorArchive): BuildFile[] {
  return archive.entries.map(({ path, content }) => ({
    path: path.startsWith('d:/') ? path.slice(3) : path,
    source: memorySource(contentBytes(content)),
  }))
}
