import { describe, expect, it } from 'vitest'
import { relativeTo, rewriteLinks } from '../links.ts'

const places = new Map([
  ['README.md', 'introduction.md'],
  ['docs/guides/ci.md', 'guides/ci.md'],
  ['packages/kel/README.md', 'packages/kel.md'],
])
const copied: string[] = []
const targets = {
  places,
  copy: (file: string): string => {
    copied.push(file)
    return `files/${file}`
  },
}
const onGuide = (text: string, sources?: string): string =>
  rewriteLinks({ source: 'docs/guides/ci.md', place: 'guides/ci.md', text }, { ...targets, sources })

describe('links of a page', () => {
  it('lead to pages, with their fragments', () => {
    expect(onGuide('[a](../../README.md#use-it) [b](../../packages/kel/README.md) [c](../../packages/kel/)')).toBe(
      '[a](../introduction.md#use-it) [b](../packages/kel.md) [c](../packages/kel.md)',
    )
  })

  it('to other files lead to a copy, or to the sources where their address is known', () => {
    expect(onGuide('[a](../../LICENSE)')).toBe('[a](../files/LICENSE)')
    expect(copied).toContain('LICENSE')
    expect(onGuide('[a](../../LICENSE)', 'https://host.example/x/blob/main')).toBe(
      '[a](https://host.example/x/blob/main/LICENSE)',
    )
  })

  it('of other hosts, of the page itself and in code stay', () => {
    const text = '[a](https://host.example/) [b](#here)\n\n```md\n[c](../../README.md)\n```\n'
    expect(onGuide(text)).toBe(text)
  })

  it('that lead nowhere end the build', () => {
    expect(() => onGuide('[a](../no-such-file.md)')).toThrow('docs/guides/ci.md links to docs/no-such-file.md')
  })

  it('say where they start', () => {
    expect(relativeTo('a/b.md', 'a/c.md')).toBe('./c.md')
    expect(relativeTo('a/b.md', 'c.md')).toBe('../c.md')
  })
})
