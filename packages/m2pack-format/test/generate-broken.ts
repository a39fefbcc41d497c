// Writes test/broken/ and test/broken-v2/: `node test/generate-broken.ts`. One fault a file, the expected code in its
// name.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { brokenCases } from './support/broken-cases.ts'
import type { BrokenCase } from './support/broken-cases.ts'
import { brokenCases2 } from './support/broken-cases-v2.ts'

function write(name: string, cases: readonly BrokenCase[]): void {
  const folder = new URL(`${name}/`, import.meta.url)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const [index, { name: title, code, bytes }] of cases.entries()) {
    const slug = title
      .replace(/[^a-z0-9]+/gi, '-')
      .replace(/^-|-$/g, '')
      .toLowerCase()
    writeFileSync(new URL(`${String(index).padStart(3, '0')}-${slug}.${code}.m2p`, folder), bytes)
  }
}

write('broken', brokenCases())
write('broken-v2', brokenCases2())
