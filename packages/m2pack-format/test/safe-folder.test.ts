import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PrimitivesError } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { M2pError } from '../src/index.ts'
import { SafeFolder } from '../src/node/index.ts'
import { temporaryFolder } from './support/tree.ts'

const content = new TextEncoder().encode('content')
const rounds = Number(process.env['KEYTURN_RACE_ROUNDS'] ?? 2000)

describe('SafeFolder', () => {
  it('writes whole files in each placement, and leaves nothing when writing fails', () => {
    const root = temporaryFolder()
    const folder = new SafeFolder(root)
    for (const placement of ['fresh', 'new', 'replace'] as const)
      folder.writeFile(`a/b/${placement}`, placement, (write) => write(content))
    expect(() => folder.writeFile('a/b/new', 'new', (write) => write(content))).toThrow(
      expect.objectContaining({ code: 'PRIM_EXISTS' }),
    )
    folder.writeFile('a/b/new', 'replace', (write) => write(new Uint8Array(3)))
    for (const placement of ['fresh', 'new', 'replace'] as const) {
      expect(() =>
        folder.writeFile('a/c', placement, () => {
          throw new Error('broken')
        }),
      ).toThrow('broken')
    }
    folder.close()
    expect(readdirSync(join(root, 'a'))).toEqual(['b'])
    expect(readdirSync(join(root, 'a/b')).sort()).toEqual(['fresh', 'new', 'replace'])
    expect(readFileSync(join(root, 'a/b/new')).length).toBe(3)
  })

  it('keeps few folders open, however many there are', () => {
    const folder = new SafeFolder(temporaryFolder())
    const before = readdirSync('/proc/self/fd').length
    for (let index = 0; index < 500; index++) folder.writeFile(`d${index}/x`, 'fresh', (write) => write(content))
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThan(80)
    folder.close()
  })

  it.skipIf(process.platform !== 'linux')(
    'writes nothing outside while another process swaps a folder for a link (row 55)',
    async () => {
      const root = temporaryFolder()
      const [target, outside] = [join(root, 'target'), join(root, 'outside')]
      mkdirSync(join(target, 'pack'), { recursive: true })
      mkdirSync(outside)
      symlinkSync(outside, join(root, 'link'))
      const script = `
      const { mkdirSync, symlinkSync, rmSync } = require('node:fs')
      const [pack, outside] = process.argv.slice(1)
      process.stdout.write('ready')
      for (;;) {
        try { rmSync(pack, { recursive: true, force: true }) } catch {}
        try { symlinkSync(outside, pack) } catch {}
        try { rmSync(pack) } catch {}
        try { mkdirSync(pack) } catch {}
      }`
      const swapper = spawn(process.execPath, ['-e', script, join(target, 'pack'), outside])
      await new Promise((ready) => swapper.stdout.once('data', ready))
      try {
        for (let round = 0; round < rounds; round++) {
          const folder = new SafeFolder(target)
          try {
            folder.writeFile(`pack/${round % 50}`, 'replace', (write) => write(content))
          } catch (error) {
            if (!(error instanceof M2pError) && !(error instanceof PrimitivesError)) throw error
          } finally {
            folder.close()
          }
        }
      } finally {
        const ended = once(swapper, 'exit')
        swapper.kill('SIGKILL')
        await ended
      }
      expect(readdirSync(outside)).toEqual([])
      // What it refused, it refused for the swapping: with nobody in the way the same write is done.
      rmSync(join(target, 'pack'), { recursive: true, force: true })
      const folder = new SafeFolder(target)
      folder.writeFile('pack/last', 'replace', (write) => write(content))
      folder.close()
      expect(readdirSync(join(target, 'pack'))).toEqual(['last'])
    },
  )

  it('writes through a link that was there only as the root the caller named', () => {
    const root = temporaryFolder()
    mkdirSync(join(root, 'real'))
    symlinkSync(join(root, 'real'), join(root, 'named'))
    const folder = new SafeFolder(join(root, 'named'))
    folder.writeFile('x', 'fresh', (write) => write(content))
    folder.close()
    expect(readdirSync(join(root, 'real'))).toEqual(['x'])
    writeFileSync(join(root, 'real/y'), 'y')
  })
})
