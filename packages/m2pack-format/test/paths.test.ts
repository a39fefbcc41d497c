import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { posix, win32 } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkPath, foldName, foldPath, logicalPath, M2pError, PathCollisions } from '../src/index.ts'
import { checkCollisions } from '../src/collisions.ts'
import { plainPathKind } from '../src/plain-path.ts'

interface FoldingFile {
  count: number
  mappings: Record<string, string>
}
const folding = JSON.parse(readFileSync(new URL('vectors/case-folding.json', import.meta.url), 'utf8')) as FoldingFile
const character = (hex: string): string =>
  hex
    .split(' ')
    .map((code) => String.fromCodePoint(Number.parseInt(code, 16)))
    .join('')

function accepted(path: string): boolean {
  try {
    checkPath(path)
    return true
  } catch (error) {
    if (error instanceof M2pError) return false
    throw error
  }
}

describe('foldName()', () => {
  it('is NFC of the full case folding for every character that folds', () => {
    const mappings = Object.entries(folding.mappings)
    expect(mappings.length).toBe(folding.count)
    expect(mappings.length).toBeGreaterThan(1500)
    for (const [from, to] of mappings) expect(foldName(character(from)), from).toBe(character(to).normalize('NFC'))
  })

  it('leaves every other character of Unicode 14 as it is, but for NFC', () => {
    const newer: string[] = []
    for (let code = 0; code < 0x110000; code++) {
      const text = String.fromCodePoint(code)
      if (/[\p{Cs}\p{Cn}]/u.test(text) || folding.mappings[code.toString(16).padStart(4, '0')] !== undefined) continue
      if (foldName(text) !== text.normalize('NFC')) newer.push(code.toString(16))
    }
    // Capital letters that came after Unicode 14.
    for (const code of newer)
      expect(code).toMatch(/^(?:1c89|a7[cd][0-9a-f]|10d[56][0-9a-f]|16ea[0-9a-f]|16eb[0-9a-f])$/)
  })

  it.each([
    ['STRASSE', 'straße'],
    ['ΣΑΣ', 'σας'],
    ['İ', 'i̇'],
    ['ŉ', 'ʼn'],
    ['ﬃ', 'ffi'],
    ['Ꭰ', 'ꭰ'],
    ['K', 'k'],
  ])('%s and %s are one name', (left, right) => {
    expect(foldName(left)).toBe(foldName(right))
  })

  it('keeps ı and i apart', () => {
    expect(foldName('ı')).not.toBe(foldName('i'))
  })
})

describe('checkPath()', () => {
  it('accepts what every platform can hold', () => {
    for (const path of [
      'a',
      'a/b.txt',
      'A b/c~1.txt',
      '.hidden',
      'com10.txt',
      'con_/console',
      ' leading',
      'ünï',
      '地図/地図1',
      '🗝',
      'x'.repeat(1024),
      Array(32).fill('x').join('/'),
      'd:/ymir work/x',
      'PROGRA~1',
      'a=b&c',
    ]) {
      expect(accepted(path), path).toBe(true)
    }
  })

  it('never accepts a path that leaves its root on any platform', () => {
    const piece = fc.constantFrom(
      '..',
      '.',
      '/',
      '\\',
      'a',
      ':',
      'C',
      '~',
      ' ',
      'con',
      'é',
      '\u202e',
      'x.y',
      'd:/ymir work/',
      '\0',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const path = pieces.join('')
        if (!accepted(path)) return
        const logical = logicalPath(path)
        expect(posix.join('/root', logical).startsWith('/root/')).toBe(true)
        expect(win32.join('C:\\root', logical).startsWith('C:\\root\\')).toBe(true)
      }),
      { numRuns: 20_000 },
    )
  })

  it('agrees with the quick look at bytes', () => {
    const letter = fc.constantFrom(..."abcnoxprulmtCNAZ019./ -_~:*\\?é'".split(''))
    fc.assert(
      fc.property(fc.array(letter, { maxLength: 12 }), (letters) => {
        const path = letters.join('')
        const bytes = new TextEncoder().encode(path)
        const kind = plainPathKind(bytes, 0, bytes.length)
        if (kind !== 'other') expect(accepted(path), path).toBe(true)
        if (kind !== 'other') expect(foldPath(path) === path ? 'folded' : 'plain', path).toBe(kind)
      }),
      { numRuns: 50_000 },
    )
  })

  it('all at once, checkCollisions() refuses what PathCollisions refuses one by one', () => {
    const letter = fc.constantFrom('a', 'b', 'B', 'A', 'ß', 'ss', 'ẞ', 'é', 'É', '/', '-', '0')
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.array(letter, { minLength: 1, maxLength: 5 }).map((letters) => letters.join('')),
          { maxLength: 8 },
        ),
        (candidates) => {
          const paths = candidates
            .filter(accepted)
            .sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
          const oneByOne = new PathCollisions()
          const stand = (work: () => void): boolean => {
            try {
              work()
              return true
            } catch (error) {
              expect(error).toMatchObject({ code: 'M2P_PATH_COLLISION' })
              return false
            }
          }
          const due = stand(() => paths.forEach((path) => oneByOne.add(path)))
          const known = paths.map((path) => {
            const bytes = new TextEncoder().encode(path)
            return { path, isFolded: plainPathKind(bytes, 0, bytes.length) === 'folded' }
          })
          expect(
            stand(() => checkCollisions(known)),
            paths.join(' '),
          ).toBe(due)
        },
      ),
      { numRuns: 20_000 },
    )
  })

  it('any two paths that stand together differ after folding', () => {
    const letter = fc.constantFrom('a', 'A', 'ß', 'ss', 'SS', 'ſ', 'ẞ', 'K', 'k', 'é', 'É', 'i̇', 'İ', '/')
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.array(letter, { minLength: 1, maxLength: 5 }).map((letters) => letters.join('')),
          { maxLength: 6 },
        ),
        (paths) => {
          const collisions = new PathCollisions()
          const kept: string[] = []
          for (const path of paths.filter(accepted)) {
            try {
              collisions.add(path)
              kept.push(foldPath(path))
            } catch (error) {
              expect(error).toMatchObject({ code: 'M2P_PATH_COLLISION' })
              const clash = kept.some(
                (other) =>
                  other === foldPath(path) ||
                  other.startsWith(`${foldPath(path)}/`) ||
                  foldPath(path).startsWith(`${other}/`),
              )
              expect(clash).toBe(true)
            }
          }
          for (const left of kept)
            for (const right of kept) if (left !== right) expect(right.startsWith(`${left}/`)).toBe(false)
          expect(new Set(kept).size).toBe(kept.length)
        },
      ),
      { numRuns: 5000 },
    )
  })
})
