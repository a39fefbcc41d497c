import { formatBytes } from '@keyturn/primitives'
import { describe, expect, it, vi } from 'vitest'
import { counted, formatDuration, formatTable, Output, terminalText } from '../src/output.ts'

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

  it('wipes the bar before anything else is printed, and says the time that is left in words', () => {
    const written: string[] = []
    const stream = { isTTY: true, columns: 200, write: (text: string) => written.push(text) }
    const out = new Output({ json: false, events: false, quiet: false, color: false }, stream, stream)
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const bar = out.progress('packing')
      vi.advanceTimersByTime(1000)
      bar.update(1_000_000, 3_600_000_000)
      // One second says nothing about an hour.
      expect(written.at(-1)).not.toContain('left')
      for (let second = 2; second < 6; second += 1) {
        vi.advanceTimersByTime(1000)
        bar.update(second * 1_000_000, 3_600_000_000)
      }
      expect(written.at(-1)).toContain('0 %  5.00 MB/3.60 GB  1.00 MB/s  59 min 55 s left')
      out.warn('look here')
      expect(written.slice(-2)).toEqual(['\r\u001b[K', 'warning: look here\n'])
      out.line('done')
      expect(written.at(-1)).toBe('done\n')
      bar.end()
      expect(written.at(-1)).toBe('done\n')
    } finally {
      vi.useRealTimers()
    }
    expect([40, 185, 4330].map(formatDuration)).toEqual(['40 s', '3 min 5 s', '1 h 12 min'])
  })

  it('lets no control character of a name, a message or a table reach the terminal', () => {
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
