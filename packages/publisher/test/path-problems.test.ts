import { describe, expect, it } from 'vitest'
import type { ReleaseManifest } from '@keyturn/manifest'
import { pathWarnings, refusePaths } from '../src/tree/path-problems.ts'

function refusal(paths: readonly string[]): { code: string; message: string; details: object } {
  try {
    refusePaths('/the/tree', paths)
  } catch (error) {
    return error as never
  }
  throw new Error('not refused')
}

describe('refusePaths()', () => {
  it('names every path that some system cannot hold at once, each with its reason, and the folder (row 225)', () => {
    const bad = ['con.txt', 'data/aux', 'a/b.', 'x /y', 'what?.txt', 'e\u0301.txt', '.updates/x', `${'n'.repeat(256)}`]
    const { code, message, details } = refusal(['fine.txt', ...bad, 'also/fine'])
    expect(code).toBe('MAN_PATH')
    expect(message).toContain('Cannot use 8 paths of "/the/tree": "con.txt" ("con" is a device on Windows), ')
    for (const path of bad.slice(0, 5)) expect(message).toContain(`"${path}" (`)
    expect(message).toContain('not in Unicode form NFC')
    expect(message).not.toContain('fine')
    expect(details).toEqual({ folder: '/the/tree', path: 'con.txt', count: 8 })
  })

  it('names both of two paths that are one on Windows and macOS, and a file that is the folder of another (row 227)', () => {
    const { code, message } = refusal(['Data/a', 'data/A', 'readme', 'README/en', 'straße', 'STRASSE'])
    expect(code).toBe('MAN_PATH_COLLISION')
    for (const part of [
      '"data/A" (the same name as "Data/a" on Windows and macOS)',
      '"STRASSE" (the same name as "straße" on Windows and macOS)',
      '"readme" (a folder on Windows and macOS, by "README/en")',
    ])
      expect(message).toContain(part)
  })

  it('shows ten of many, and lets sound ones pass', () => {
    expect(refusal(Array.from({ length: 40 }, (_, at) => `${at}.`)).message).toContain(', and 30 more')
    expect(() => refusePaths('/the/tree', ['a/b', 'a/c', 'b', 'Ärger/ß', 'auxiliary', 'A'.repeat(200)])).not.toThrow()
  })
})

describe('pathWarnings()', () => {
  const earlier = { version: '2026.11.30-1', files: ['Fusion.mp3', 'Maps/a', 'same', 'gone'].map((path) => ({ path })) }

  it('says which names changed in spelling only since the release before (row 410)', () => {
    const [warning, ...others] = pathWarnings(['fusion.mp3', 'maps/a', 'same'], earlier as unknown as ReleaseManifest)
    expect(others).toEqual([])
    expect(warning).toContain('since 2026.11.30-1')
    expect(warning).toContain('"Fusion.mp3" to "fusion.mp3", "Maps/a" to "maps/a"')
    expect(pathWarnings(['same', 'new'], earlier as unknown as ReleaseManifest)).toEqual([])
    expect(pathWarnings(['fusion.mp3'], undefined)).toEqual([])
  })

  it('says which paths leave Windows too little room for the install folder (row 410)', () => {
    const [warning] = pathWarnings(['ok', `${'d'.repeat(150)}/${'f'.repeat(60)}`], undefined)
    expect(warning).toContain('259 characters')
    expect(warning).toContain('(211)')
  })
})
