import { formatBytes } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { counted, formatTable } from '../src/output.ts'

describe('counted()', () => {
  it('says one thing and several things', () => {
    expect([0, 1, 2].map((count) => counted(count, 'blob'))).toEqual(['0 blobs', '1 blob', '2 blobs'])
  })
})

describe('formatBytes()', () => {
  it('shows three significant digits', () => {
    expect([0, 734, 999, 1000, 12_345, 123_456, 999_499, 999_999, 1_234_567].map(formatBytes)).toEqual([
      '0 B',
      '734 B',
      '999 B',
      '1.00 kB',
      '12.3 kB',
      '123 kB',
      '999 kB',
      '1.00 MB',
      '1.23 MB',
    ])
  })
})

describe('formatTable()', () => {
  it('lays out columns without blanks at the end of lines', () => {
    expect(
      formatTable([
        ['a', 'b', ''],
        ['ccc', 'd', 'e'],
      ]),
    ).toBe('a    b\nccc  d  e')
  })
})
