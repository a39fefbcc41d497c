import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultJobs } from '../src/node/crew.ts'
import { buildFolder, Crew } from '../src/node/index.ts'

const keys = { contentKey: { keyId: 1, key: new Uint8Array(32).fill(5) }, signingSeed: new Uint8Array(32).fill(7) }
let root: string
const at = (...parts: readonly string[]): string => join(root, ...parts)

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'm2p-crew-'))
  for (const name of ['one', 'two']) {
    mkdirSync(at(name))
    for (let file = 0; file < 40; file += 1) writeFileSync(at(name, `${file}.txt`), `${name} ${file} `.repeat(500))
    writeFileSync(at(name, 'large.bin'), new Uint8Array(3_000_000).fill(name.length))
  }
})
afterAll(() => rmSync(root, { recursive: true }))

describe('Crew', () => {
  it('packs several archives one after the other, with the bytes that threads of their own give', async () => {
    const crew = new Crew(3)
    try {
      for (const name of ['one', 'two', 'one']) {
        await buildFolder(at(name), at('shared.m2p'), { ...keys, crew, overwrite: true })
        await buildFolder(at(name), at('own.m2p'), { ...keys, jobs: 2, overwrite: true })
        expect(readFileSync(at('shared.m2p')).equals(readFileSync(at('own.m2p')))).toBe(true)
      }
    } finally {
      await crew.close()
    }
  })

  it('goes on after a job that failed, and after one that was stopped', async () => {
    const crew = new Crew(2)
    try {
      await expect(
        buildFolder(at('one'), at('failed.m2p'), { ...keys, crew, files: ['0.txt', 'gone.txt'] }),
      ).rejects.toMatchObject({ code: 'M2P_INPUT_CHANGED' })
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(buildFolder(at('one'), at('stopped.m2p'), { ...keys, crew, signal })).rejects.toThrow('enough')
      const { files } = await buildFolder(at('one'), at('next.m2p'), { ...keys, crew })
      expect(files).toBe(41)
    } finally {
      await crew.close()
    }
  })

  it('refuses work once its threads have ended', async () => {
    const crew = new Crew(2)
    await crew.close()
    await expect(buildFolder(at('one'), at('late.m2p'), { ...keys, crew })).rejects.toThrow('ended early')
  })

  it('has as many threads as there are cores, up to 64', () => {
    expect([1, 8, 96].map((cores) => defaultJobs(cores))).toEqual([1, 8, 64])
  })
})
