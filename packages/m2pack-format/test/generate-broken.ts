// Writes test/broken/: `node test/generate-broken.ts`. One fault a file, the code that is due in its name.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { brokenCases } from './support/broken-cases.ts'

const folder = new URL('broken/', import.meta.url)
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
for (const [index, { name, code, bytes }] of brokenCases().entries()) {
  const slug = name
    .replace(/[^a-z0-9]+/gi, '-')
    .replace(/^-|-$/g, '')
    .toLowerCase()
  writeFileSync(new URL(`${String(index).padStart(3, '0')}-${slug}.${code}.m2p`, folder), bytes)
}
