import { readFileSync } from 'node:fs'
import { utf8Decode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { ChunkIndexer, chunkParams, writeChunkIndex } from '../src/delta/index.ts'
import {
  initialTrustState,
  parseHead,
  parseHeadEnvelope,
  parseManifest,
  parseRoles,
  parseTrustRoot,
  parseTrustState,
  verifyRelease,
  writeTrustState,
} from '../src/index.ts'
import { writeHead, writeManifest, writeRoles } from '../src/publish/index.ts'
import type { ChunkParams } from '../src/delta/index.ts'
import { options } from './support/publisher.ts'

const golden = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`golden/1/${name}`, import.meta.url)))

describe('golden files of version 1', () => {
  const root = parseTrustRoot(utf8Decode(golden('pin.txt')).trim())
  const input = {
    logs: [golden('log.cesr')],
    roles: golden('roles-2.json'),
    earlierRoles: [golden('roles-1.json')],
    head: golden('head.json'),
    manifest: golden('manifest.json'),
    signatures: golden('manifest.sigs.json'),
  }

  it('a notice of the head key ends it, and is written the same again', () => {
    const decision = verifyRelease({ ...input, kills: golden('kills.json') }, initialTrustState(root), options())
    expect(decision).toMatchObject({
      outcome: 'refused',
      error: { code: 'MAN_KEY_KILLED' },
      kills: golden('kills.json'),
    })
  })

  it('are accepted as they were, and give the same trust state', () => {
    const decision = verifyRelease(input, initialTrustState(root), options())
    expect(decision).toMatchObject({
      outcome: 'accepted',
      offer: 'manifest',
      manifest: { version: '2026.11.21-2', sequence: 2 },
    })
    expect(utf8Decode(writeTrustState(decision.state))).toBe(utf8Decode(golden('trust.json')))
    expect(parseTrustState(golden('trust.json'))).toEqual(decision.state)
  })

  it('are written the same way today', () => {
    expect(writeManifest(parseManifest(input.manifest))).toEqual(input.manifest)
    for (const name of ['roles-1.json', 'roles-2.json'])
      expect(writeRoles(parseRoles(golden(name)))).toEqual(golden(name))
    const { payload } = parseHeadEnvelope(input.head)
    expect(writeHead(parseHead(payload))).toEqual(payload)
  })

  it('hold the chunk index of known bytes', () => {
    const blob = new Uint8Array(300_000).map((_, index) => (index * 2654435761) >>> 13)
    const index = new ChunkIndexer(chunkParams.get(1) as ChunkParams, [1000, 5000, 100_000]).update(blob).finish()
    expect(writeChunkIndex(index)).toEqual(golden('index.m2ix'))
  })

  it('are refused with any one byte changed', () => {
    for (const name of ['logs', 'roles', 'head', 'manifest', 'signatures'] as const) {
      const bytes = name === 'logs' ? (input.logs[0] as Uint8Array) : input[name]
      for (let at = 0; at < bytes.length; at += 17) {
        const changed = bytes.map((byte, index) => (index === at ? byte ^ 0x10 : byte))
        const decision = verifyRelease(
          { ...input, [name]: name === 'logs' ? [changed] : changed },
          initialTrustState(root),
          options(),
        )
        // White space and names that nobody asked for may differ in an envelope; what is signed may not.
        if (decision.outcome === 'accepted') expect(['head', 'signatures']).toContain(name)
      }
    }
  })
})
