import { readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import type { Plugin } from 'rolldown'

/** The facts of an installed package that a bundle needs. */
export interface Origin {
  readonly folder: string
  readonly name: string
  readonly version: string
  readonly license: string
}

/** The package that a module belongs to; undefined for a module that the bundler made. */
export function originOf(id: string): Origin | undefined {
  if (!id.startsWith(sep)) return undefined
  for (let folder = dirname(id); folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = readManifest(join(folder, 'package.json'))
    if (manifest.name !== undefined && manifest.version !== undefined)
      return { folder, name: manifest.name, version: manifest.version, license: manifest.license ?? 'none named' }
  }
  return undefined
}

function readManifest(path: string): Partial<Origin> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Partial<Origin>
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
}

/** What is loaded late, if at all, and stays outside of every bundle: it is installed beside it. */
const OPTIONAL = /\bimport\('(@napi-rs\/keyring|\.\.\/zstd-portable\.js)'\)/g
const HELPERS = `import { createRequire as createRequire_ } from 'node:module'
import { pathToFileURL as pathToFileURL_ } from 'node:url'
const found_ = (name, from) => pathToFileURL_(createRequire_(from).resolve(name)).href
`
const COMMENT = /\/\*[^]*?\*\/|^\s*\/\/.*$/gm

/**
 * Lets modules find what is beside them (workers, data, optional packages) at the place that they were bundled from:
 * the packages themselves stay installed.
 *
 * @param own - The package that is built; its files are found from the bundle, those of others by name.
 * @param output - The folder of the bundle.
 */
export function keepOrigins(own: string, output: string): Plugin {
  return {
    name: 'keep-origins',
    transform(code, id) {
      const text = code.replace(COMMENT, '')
      const origin = originOf(id)
      const looks = /\bimport\.meta\b/.test(text)
      const loads = text.match(OPTIONAL) !== null
      if (origin === undefined || !(looks || loads)) return undefined
      if (!origin.name.startsWith('@keyturn/')) throw new Error(`${id} looks for its own place: leave it outside`)
      const place =
        origin.folder === own
          ? `new URL('${relative(output, id)}', import.meta.url).href`
          : `new URL('./${relative(origin.folder, id)}', import.meta.resolve('${origin.name}/package.json')).href`
      const placed = code.replaceAll('import.meta.url', place)
      return loads ? `${HELPERS}${placed.replace(OPTIONAL, `import(found_('$1', ${place}))`)}` : placed
    },
  }
}
