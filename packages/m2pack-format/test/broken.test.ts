import { equalBytes, sha256 } from '@keyturn/primitives'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { M2pError, memorySource, openArchive } from '../src/index.ts'
import type { Archive } from '../src/index.ts'
import { brokenCases } from './support/broken-cases.ts'
import { brokenCases2 } from './support/broken-cases-v2.ts'
import { contentKey, verifiers } from './support/craft.ts'

const kits = [
  { version: 1, name: 'broken/', least: 150, cases: brokenCases() },
  { version: 2, name: 'broken-v2/', least: 120, cases: brokenCases2() },
]

function codeOf(error: unknown): string {
  if (!(error instanceof M2pError)) throw error
  return error.code
}

/** Reads everything in every way and gives the codes met; whatever comes out must be the publisher's. */
async function readAll(archive: Archive): Promise<Set<string>> {
  const codes = new Set<string>()
  for (const entry of archive.entries) {
    try {
      const bytes = await archive.read(entry.path)
      expect(equalBytes(sha256(bytes), entry.sha256)).toBe(true)
    } catch (error) {
      codes.add(codeOf(error))
    }
  }
  return codes
}

async function refusalOf(bytes: Uint8Array): Promise<string> {
  let archive: Archive
  try {
    archive = await openArchive(memorySource(bytes), { verifiers, contentKey })
  } catch (error) {
    return codeOf(error)
  }
  const { ok, failures } = await archive.verify()
  expect(ok).toBe(false)
  const [code = 'none'] = failures.map((failure) => failure.code)
  if (code !== 'M2P_PADDING') expect([...(await readAll(archive))]).toContain(code)
  return code
}

describe.each(kits)('broken archives of version $version, one fault each', ({ name: kit, least, cases }) => {
  const folder = fileURLToPath(new URL(kit, import.meta.url))
  const files = readdirSync(folder).filter((name) => name.endsWith('.m2p'))

  it('there are many, and the committed ones are those of the generator', () => {
    expect(files.length).toBeGreaterThanOrEqual(least)
    expect(files.length).toBe(cases.length)
    for (const [index, file] of files.sort().entries())
      expect(equalBytes(new Uint8Array(readFileSync(folder + file)), cases[index]?.bytes as Uint8Array), file).toBe(
        true,
      )
  })

  it.each(files)('%s is refused with the code in its name', async (name) => {
    expect(await refusalOf(new Uint8Array(readFileSync(folder + name)))).toBe(name.split('.')[1])
  })

  it("none gives out a byte that is not the publisher's, in a stream either", async () => {
    for (const name of files) {
      const source = memorySource(new Uint8Array(readFileSync(folder + name)))
      const archive = await openArchive(source, { verifiers, contentKey }).catch((error: unknown) => codeOf(error))
      if (typeof archive === 'string') continue
      for (const entry of archive.entries) {
        const parts: Uint8Array[] = []
        try {
          for await (const part of archive.stream(entry.path)) parts.push(part)
          expect(equalBytes(sha256(Buffer.concat(parts)), entry.sha256)).toBe(true)
        } catch (error) {
          codeOf(error)
          if (entry.segmentCount === 1) expect(parts).toEqual([])
        }
      }
    }
  })
})
