import { formatBytes } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { counted, formatTable, Output, terminalText } from '../src/output.ts'

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

describe('Output', () => {
  const hostile = '\u001b]0;owned\u0007\u001b[2J\u009b31m\u0085\u202egnp\r\u007f'

  it('lets no control character of a name, a message or a table reach the terminal (attack 19)', () => {
    const written: string[] = []
    const stream = { isTTY: true, write: (text: string) => written.push(text) }
    for (const json of [false, true]) {
      const out = new Output({ json, events: json, quiet: false, color: false }, stream, stream)
      out.line(hostile)
      out.line(formatTable([[hostile, `two\nlines ${hostile}`]]))
      out.object({ [hostile]: hostile })
      out.step(hostile, hostile, { fact: hostile })
      out.warn(hostile)
      out.error(hostile)
      const bar = out.progress(hostile)
      bar.update(1, 2)
    }
    const shown = written.join('').replaceAll('\r\u001b[K', '')
    // eslint-disable-next-line no-control-regex -- these are what it is about
    expect(shown.match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/g)).toBeNull()
    expect(terminalText('plain ünïcode ✓\n')).toBe('plain ünïcode ✓\n')
  })
})
