import { describe, expect, it } from 'vitest'
import { requireBytes, requireList, requireMembers, requireText } from '../src/index.ts'

/** A call with one argument left out, and the name that the error has to say. */
type Row = readonly [call: string, argument: string, run: (nothing: never) => unknown]

const rows: readonly Row[] = [
  ['requireBytes()', 'key', (nothing) => requireBytes(nothing, 'key')],
  ['requireText()', 'name', (nothing) => requireText(nothing, 'name')],
  ['requireList()', 'files', (nothing) => requireList(nothing, 'files')],
  ['requireMembers()', 'source', (nothing) => requireMembers(nothing, 'source', ['size', 'read'])],
]

describe('arguments that are left out', () => {
  it.each(rows)('%s without %s: a TypeError that names it', async (_call, argument, run) => {
    const error = await Promise.resolve()
      .then(() => run(undefined as never))
      .then(
        () => 'no error',
        (thrown: unknown) => thrown,
      )
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(new RegExp(`^${argument} must `))
  })

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
