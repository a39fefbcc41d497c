import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'
import { pageDocument } from './document.ts'
import { pageStyles } from './styles.ts'

/** A file of the page. */
export interface PageAsset {
  readonly type: string
  readonly body: string
}

const scripts = ['client', 'words', 'markdown'] as const

/** Built, the scripts are JavaScript; from a checkout their types are taken off here. */
async function script(name: string): Promise<string> {
  const built = new URL(`./${name}.js`, import.meta.url)
  if (existsSync(fileURLToPath(built))) return await readFile(built, 'utf8')
  const source = stripTypeScriptTypes(await readFile(new URL(`./${name}.ts`, import.meta.url), 'utf8'))
  return source.replaceAll(/from '\.\/(\w+)\.ts'/g, "from './$1.js'")
}

/** The whole page by address; nothing of it comes from elsewhere. */
export async function loadPage(): Promise<ReadonlyMap<string, PageAsset>> {
  const assets = new Map<string, PageAsset>([
    ['/', { type: 'text/html; charset=utf-8', body: pageDocument }],
    ['/styles.css', { type: 'text/css; charset=utf-8', body: pageStyles }],
  ])
  for (const name of scripts)
    assets.set(`/${name}.js`, { type: 'text/javascript; charset=utf-8', body: await script(name) })
  return assets
}
