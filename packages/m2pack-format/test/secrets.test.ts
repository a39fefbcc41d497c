import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { buildFolder } from '../src/node/index.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const primitives = fileURLToPath(new URL('../../primitives/dist/index.js', import.meta.url))

describe('secrets', () => {
  it('are in no files but the ones meant for them', async () => {
    const root = temporaryFolder()
    writeTree(join(root, 'tree'), variedFiles())
    const secrets = {
      content: new Uint8Array(randomBytes(32)),
      seed: new Uint8Array(randomBytes(32)),
      slot: new Uint8Array(randomBytes(32)),
    }
    await buildFolder(join(root, 'tree'), join(root, 'x.m2p'), {
      contentKey: { keyId: 1, key: secrets.content },
      signingSeed: secrets.seed,
      slots: new Map([[1, secrets.slot]]),
      segmentSize: 65_536,
    })
    for (const name of readdirSync(root).filter((entry) => entry.endsWith('.m2p'))) {
      const bytes = readFileSync(join(root, name))
      for (const secret of Object.values(secrets)) {
        for (let at = 0; at <= 24; at++) expect(bytes.includes(Buffer.from(secret.subarray(at, at + 8)))).toBe(false)
      }
    }
  })

  it.skipIf(process.platform !== 'linux')('are gone from memory once an archive is disposed of', () => {
    const root = temporaryFolder()
    const script = join(root, 'scan.mjs')
    // The marker is made from a seed at run time, so that neither the script nor its source text holds it.
    writeFileSync(
      script,
      `
      import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
      import { buildArchive, MemorySink, memorySource, openArchive } from ${JSON.stringify(`${dist}index.js`)}
      import { ed25519PublicKey } from ${JSON.stringify(primitives)}
      // The engine keeps small arrays on its heap, moves them and leaves copies. The test's own must be elsewhere.
      function marker(index, mask) {
        const bytes = new Uint8Array(new ArrayBuffer(32))
        for (let at = 0; at < 32; at++) bytes[at] = (((at * 97 + index * 31) ^ (at << 3)) & 255) ^ mask
        return bytes
      }
      const signingSeed = new Uint8Array(32).fill(1)
      const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
      const content = new Uint8Array(200).fill(97)
      async function use(slot) {
        const contentKey = { keyId: 1, key: new Uint8Array(32).fill(9) }
        const sink = new MemorySink()
        const slots = new Map([[1, slot]])
        await buildArchive([{ path: 'a', source: memorySource(content) }], sink, { contentKey, signingSeed, slots })
        const archive = await openArchive(memorySource(sink.bytes()), { verifiers, contentKey })
        await archive.read('a')
        const live = count()
        archive.dispose()
        return live
      }
      // Counts copies, the ones of the needle itself left out: it is kept XORed.
      function count() {
        const masked = marker(1, 0x5a)
        let found = 0
        const memory = openSync('/proc/self/mem', 'r')
        for (const line of readFileSync('/proc/self/maps', 'latin1').split('\\n')) {
          const [, from, to, mode] = /^([0-9a-f]+)-([0-9a-f]+) (rw)/.exec(line) ?? []
          if (mode === undefined) continue
          const [start, end] = [parseInt(from, 16), parseInt(to, 16)]
          if (end - start > 400e6) continue
          const bytes = Buffer.alloc(end - start)
          try { readSync(memory, bytes, 0, bytes.length, start) } catch { continue }
          for (let at = bytes.indexOf(masked[0] ^ 0x5a); at >= 0; at = bytes.indexOf(masked[0] ^ 0x5a, at + 1)) {
            let same = at + 32 <= bytes.length
            for (let index = 1; same && index < 32; index++) same = bytes[at + index] === (masked[index] ^ 0x5a)
            if (same) found++
          }
          bytes.fill(0)
        }
        closeSync(memory)
        return found
      }
      const slot = marker(1, 0)
      const live = await use(slot)
      slot.fill(0)
      globalThis.gc()
      const after = count()
      console.log(JSON.stringify({ live, after }))
    `,
    )
    const { live, after } = JSON.parse(
      execFileSync(process.execPath, ['--expose-gc', script], { encoding: 'utf8', maxBuffer: 1e7 }),
    ) as { live: number; after: number }
    expect(live).toBeGreaterThan(1)
    expect(after).toBe(0)
  })

  it.skipIf(process.platform !== 'linux')(
    'are born 0600: no chmod, no moment in which others could open the file',
    () => {
      const root = temporaryFolder()
      const trace = join(root, 'trace')
      const script = `import(${JSON.stringify(`${dist}node/index.js`)}).then(({ generateKeyFiles }) => generateKeyFiles(${JSON.stringify(join(root, 'keys'))}))`
      const { status, error } = spawnSync('strace', [
        '-f',
        '-e',
        'trace=openat,open,chmod,fchmod,fchmodat',
        '-o',
        trace,
        process.execPath,
        '-e',
        script,
      ])
      if (error !== undefined || status !== 0) {
        console.info('skipped: no strace here')
        return
      }
      const lines = readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => line.includes(join(root, 'keys')))
      const created = lines.filter((line) => line.includes('O_CREAT'))
      expect(created.length).toBe(4)
      for (const line of created) expect(line).toMatch(/O_EXCL.*0600/)
      expect(lines.filter((line) => line.includes('chmod'))).toEqual([])
    },
  )
})
