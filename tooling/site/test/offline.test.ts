import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openableFromDisk } from '../offline.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyturn-site-'))
  mkdirSync(join(folder, 'guides'))
  writeFileSync(join(folder, 'index.html'), '<h2 id="two">')
  writeFileSync(join(folder, 'style.css'), '')
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function opened(html: string, base = '/'): string {
  writeFileSync(join(folder, 'guides/ci.html'), html)
  openableFromDisk(folder, base)
  return readFileSync(join(folder, 'guides/ci.html'), 'utf8')
}

describe('pages that open from a disk', () => {
  it('name files by their way from the page', () => {
    expect(opened('<link href="/style.css"><a href="/">x</a><a href="/guides/ci#two">y</a><h2 id="two">')).toBe(
      '<link href="../style.css"><a href="../index.html">x</a><a href="ci.html#two">y</a><h2 id="two">',
    )
  })

  it('do so below the path of a server', () => {
    expect(opened('<link href="/docs/style.css"><a href="https://host.example/x">', '/docs/')).toBe(
      '<link href="../style.css"><a href="https://host.example/x">',
    )
  })

  it('name the page of a folder, to which a disk has no answer', () => {
    expect(opened('<a href="../">x</a><a href="../guides/../#two">y</a>')).toBe(
      '<a href="../index.html">x</a><a href="../index.html#two">y</a>',
    )
    expect(() => opened('<a href="./nowhere/">')).toThrow('guides/ci.html: ./nowhere/')
  })

  it('start their script only when a server sent them', () => {
    expect(opened('<script type="module" src="/style.css"></script>')).toContain("location.protocol!=='file:'")
  })

  it('refuse a relative link to no file, and one to no heading', () => {
    expect(() => opened('<a href="../files/unit.service.html">')).toThrow('guides/ci.html: ../files/unit.service.html')
    writeFileSync(join(folder, 'guides/keys.html'), '<h2 id="7-who">')
    expect(opened('<a href="./keys.html#7-who">')).toBe('<a href="keys.html#7-who">')
    expect(() => opened('<a href="./keys.html#_7-who">')).toThrow('guides/ci.html: ./keys.html#_7-who')
  })

  it('refuse a link to no page', () => {
    expect(() => opened('<a href="/nowhere">')).toThrow('guides/ci.html: /nowhere')
  })
})
