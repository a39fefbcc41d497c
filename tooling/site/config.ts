/** Settings of VitePress; `build.ts` copies this file beside the pages and writes `navigation.json` there. */
import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'
import type { DefaultTheme } from 'vitepress'

interface Navigation {
  readonly sources?: string
  readonly sidebar: DefaultTheme.SidebarItem[]
}

const navigation = JSON.parse(readFileSync(new URL('navigation.json', import.meta.url), 'utf8')) as Navigation

/** Documents link to headings as a forge names them: VitePress's own names differ where a heading begins with a digit. */
function slugify(heading: string): string {
  const kept = heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, '')
  return kept.replaceAll(' ', '-')
}

const config = defineConfig({
  title: 'Keyturn',
  description: 'Ship large desktop apps and games from your own server, and rotate every key',
  lang: 'en',
  lastUpdated: false,
  // No icon of its own; browsers ask a server for one otherwise.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  // Texts come from the repository as they are: nothing in them is markup of this site.
  markdown: { html: false, anchor: { slugify } },
  // Relative links were checked when the pages were gathered; this looks at the result once more.
  ignoreDeadLinks: [/^\.?\/?(\.\.\/)*api\//, /^\.?\/?(\.\.\/)*files\//],
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guides', link: '/guides/' },
      { text: 'Run a server', link: '/operations/' },
      { text: 'Packages', link: '/packages/' },
      { text: 'Error codes', link: '/errors/' },
    ],
    sidebar: navigation.sidebar,
    ...(navigation.sources === undefined
      ? {}
      : { socialLinks: [{ icon: 'github', link: navigation.sources }] as DefaultTheme.SocialLink[] }),
  },
})

export { config as default }
