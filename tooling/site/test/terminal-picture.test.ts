import { expect, it } from 'vitest'
import { terminalPicture } from '../terminal-picture.ts'

it('a recording is an SVG with escaped text, folded lines, and a still for those who want no movement', () => {
  const picture = terminalPicture('a & b', [
    { command: 'echo "<x>"', output: ['<x>', 'y'.repeat(150)] },
    { command: 'true', output: [] },
  ])
  expect(picture).toContain('aria-label="a &amp; b"')
  expect(picture).toContain('&lt;x&gt;')
  expect(picture).not.toContain('y'.repeat(101))
  expect(picture.match(/y{50,}/g)).toHaveLength(2)
  expect(picture).toContain('prefers-reduced-motion')
  expect(picture).not.toContain('<script')
})
