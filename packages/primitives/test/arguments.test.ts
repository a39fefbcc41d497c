import { describe, expect, it } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { requireBytes, requireIterable, requireList, requireMembers, requireText } from '../src/index.ts'

const rows: readonly LeftOut[] = [
  ['requireBytes()', 'key', (nothing) => requireBytes(nothing, 'key')],
  ['requireText()', 'name', (nothing) => requireText(nothing, 'name')],
  ['requireList()', 'files', (nothing) => requireList(nothing, 'files')],
  ['requireIterable()', 'files', (nothing) => requireIterable(nothing, 'files')],
  ['requireMembers()', 'source', (nothing) => requireMembers(nothing, 'source', ['size', 'read'])],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments(rows)

  it('requireMembers() says which members, and takes what has them all, whatever they hold', () => {
    const words = (members: string[], value: unknown): string => {
      try {
        requireMembers(value, 'source', members)
        return 'fine'
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(words(['size', 'read'], { size: 3 })).toBe('source must have size and read')
    expect(words(['a', 'b', 'c'], 'text')).toBe('source must have a, b and c')
    expect(words(['read'], null)).toBe('source must have read')
    expect(words([], 3)).toBe('source must be an object')
    expect(words(['size', 'read'], { size: 0, read: null })).toBe('fine')
    expect(
      words(
        ['of'],
        class {
          static of = 1
        },
      ),
    ).toBe('fine')
  })
})
