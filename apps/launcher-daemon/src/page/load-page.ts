import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { PageBrand } from './brand.ts'
import { pageDocument } from './document.ts'
import { brandStyles, pageStyles } from './styles.ts'

/** A file of the page. */
export interface PageAsset {
  readonly type: string
  readonly body: string | Uint8Array
}

const SCRIPTS = [
  'client',
  'shared',
  'units',
  'setup',
  'parts',
  'settings-form',
  'words',
  'markdown',
  'words-de',
  'words-fr',
  'words-es',
  'words-pt-BR',
  'words-it',
  'words-pl',
  'words-cs',
  'words-tr',
  'words-ru',
  'words-uk',
  'words-ja',
  'words-ko',
  'words-zh-Hans',
] as const

/** Built, the scripts are JavaScript; from a checkout their types are taken off here. */
async function script(name: string): Promise<string> {
  const built = new URL(`./${name}.js`, import.meta.url)
  if (existsSync(fileURLToPath(built))) return await readFile(built, 'utf8')
  const source = stripTypeScriptTypes(await readFile(new URL(`./${name}.ts`, import.meta.url), 'utf8'))
  return source.replaceAll(/from '\.\/([\w-]+)\.ts'/g, "from './$1.js'")
}

/** The whole page by address; nothing of it comes from elsewhere. */
export async function loadPage(brand?: PageBrand): Promise<ReadonlyMap<string, PageAsset>> {
  const assets = new Map<string, PageAsset>([
    ['/', { type: 'text/html; charset=utf-8', body: pageDocument(brand) }],
    ['/styles.css', { type: 'text/css; charset=utf-8', body: pageStyles + brandStyles(brand) }],
  ])
  for (const name of ['logo', 'background'] as const) {
    const image = brand?.[name]
    if (image !== undefined) assets.set(`/${name}`, { type: image.type, body: image.bytes })
  }
  for (const name of SCRIPTS)
    assets.set(`/${name}.js`, { type: 'text/javascript; charset=utf-8', body: await script(name) })
  return assets
}
