import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A folder that is removed when the test is over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-m2p-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Bytes that do not compress. */
export function noise(label: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let at = 0, counter = 0; at < size; at += 32, counter++) {
    bytes.set(
      createHash('sha256')
        .update(`${label} ${counter}`)
        .digest()
        .subarray(0, size - at),
      at,
    )
  }
  return bytes
}

/** Writes files below a folder. */
export function writeTree(root: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
}

const lines = (count: number): string =>
  Array.from({ length: count }, (_, index) => `line ${index} of a file that compresses well\n`).join('')

/** A tree with every kind of file: empty, tiny, text, noise, one segment exactly, several, mixed. */
export function variedFiles(): Record<string, string | Uint8Array> {
  const files: Record<string, string | Uint8Array> = {
    'empty.txt': '',
    'a/b/c/deep.txt': 'deep\n',
    'a.txt': lines(30),
    'a/exact.bin': noise('exact', 65_536),
    'a/over.bin': noise('over', 65_537),
    'text/large.txt': lines(12_000),
    'text/medium.txt': lines(900),
    'media/large.bin': noise('large', 400_000),
    'media/starts-well.bin': Buffer.concat([Buffer.alloc(65_536, 'x'), noise('tail', 200_000)]),
    'media/starts-badly.bin': Buffer.concat([noise('head', 65_536), Buffer.alloc(200_000, 'y')]),
    'ünï/çödé.txt': 'names in many scripts\n',
    '地図/地図1.txt': lines(4),
  }
  for (let index = 0; index < 150; index++)
    files[`many/${index % 7}/file-${index}.lua`] = `return ${index}\n`.repeat(index % 40)
  return files
}
