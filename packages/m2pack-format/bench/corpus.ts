import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const workspace = fileURLToPath(new URL('../../../', import.meta.url))

function noise(label: string, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0, counter = 0; at < size; at += 32, counter++) {
    createHash('sha256').update(`${label} ${counter}`).digest().copy(bytes, at)
  }
  return bytes
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((left, right) =>
    left.name < right.name ? -1 : 1,
  )) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* sources(path)
    else if (entry.isFile() && /\.(?:[cm]?[jt]s|json|md|map|h|html|css)$/.test(entry.name)) yield path
  }
}

function write(root: string, path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), bytes)
}

/** The head of the running Node: a real binary. */
function binary(start: number, size: number): Buffer {
  const descriptor = openSync(process.execPath, 'r')
  const bytes = Buffer.alloc(size)
  readSync(descriptor, bytes, 0, size, start)
  closeSync(descriptor)
  return bytes
}

/**
 * About 200 MB in some 9,000 files: sources and texts of the workspace's dependencies, one large binary, 300 media-like
 * files.
 */
export function smallFiles(root: string): void {
  let count = 0
  let total = 0
  for (const path of sources(join(workspace, 'node_modules/.pnpm'))) {
    if (count >= 8_600 || total >= 70e6) break
    const bytes = readFileSync(path)
    if (bytes.length > 400_000) continue
    // 485 folders of some 18 files. (97 and 1009 would share no factor: one folder for each file.)
    write(root, `text/${count % 97}/${(Math.floor(count / 97) % 5).toString(36)}/${count}.txt`, bytes)
    count++
    total += bytes.length
  }
  write(root, 'binary/client.bin', binary(0, 60e6))
  for (let index = 0; index < 300; index++)
    write(root, `media/${index % 10}/${index}.ogg`, noise(`media ${index}`, 240_000))
}

/** 40 files of 5 MB: binaries, noise and text. */
export function largeFiles(root: string): void {
  const text: Buffer[] = []
  let length = 0
  for (const path of sources(join(workspace, 'node_modules/.pnpm'))) {
    if (length > 50e6) break
    const bytes = readFileSync(path)
    text.push(bytes)
    length += bytes.length
  }
  const joined = Buffer.concat(text)
  for (let index = 0; index < 40; index++) {
    const kind = index % 4
    const bytes =
      kind === 0
        ? noise(`large ${index}`, 5e6)
        : kind === 1
          ? joined.subarray((index >> 2) * 5e6, ((index >> 2) + 1) * 5e6)
          : binary(index * 2e6, 5e6)
    write(root, `pack/${index}.bin`, bytes)
  }
}

/** One file of a few bytes. */
export function oneSmallFile(root: string): void {
  write(root, 'one.txt', Buffer.from('one'))
}

/** One file that does not compress. */
export function oneFileOf8MB(root: string): void {
  write(root, 'big.bin', noise('one file', 8e6))
}

/** Makes a corpus unless it is there. */
export function corpus(root: string, make: (root: string) => void): string {
  if (!existsSync(root)) {
    mkdirSync(root, { recursive: true })
    make(root)
  }
  return root
}
