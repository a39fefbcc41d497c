import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { sectionsOf, writeDiskSearch } from '../disk-search.ts'

const PAGE = `<nav>menu</nav><main><div class="vp-doc"><h1 id="keys" tabindex="-1">Rotate &lt;keys&gt;
<a class="header-anchor" href="#keys" aria-label="Permalink">&ZeroWidthSpace;</a></h1><p>Every <code>key</code></p><p>has an end.</p>
<h2 id="one-1">One</h2><div class="language-sh"><button>Copy</button><span class="lang">sh</span><pre>keyturn rotate</pre></div></div></main>
<footer><h2 id="no">no</h2></footer>`

it('finds each heading of a page with what is below it, and nothing of what is around', () => {
  expect(sectionsOf('guides/keys.html', PAGE)).toEqual([
    { address: 'guides/keys.html', page: 'Rotate <keys>', heading: 'Rotate <keys>', text: 'Every key has an end.' },
    { address: 'guides/keys.html#one-1', page: 'Rotate <keys>', heading: 'One', text: 'keyturn rotate' },
  ])
})

it('writes a script that needs no module, so that browsers run it from a disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-search-'))
  try {
    mkdirSync(join(folder, 'guides'))
    mkdirSync(join(folder, 'api'))
    writeFileSync(join(folder, 'guides/keys.html'), PAGE)
    writeFileSync(join(folder, 'api/x.html'), PAGE)
    expect(writeDiskSearch(folder, 'the page')).toBe(2)
    const script = readFileSync(join(folder, 'search-index.js'), 'utf8')
    const places = runInNewContext(`${script};sections.map(([address]) => address)`) as string[]
    expect([...places]).toEqual(['guides/keys.html', 'guides/keys.html#one-1'])
    expect(readFileSync(join(folder, 'search.html'), 'utf8')).toBe('the page')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
