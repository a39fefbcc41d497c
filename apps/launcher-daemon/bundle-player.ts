/**
 * Makes `dist/player/`: the launcher and the loader as one script each, for the executables that `keyturn launcher
 * build` makes. Studios need no bundler. Run by the build, after tsc.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deflateRawSync } from 'node:zlib'
import { rolldown } from 'rolldown'
import { minifySync } from 'rolldown/utils'
import type { Plugin } from 'rolldown'
import type { ErrorCatalogue } from '@keyturn/primitives'

const DIST = fileURLToPath(new URL('dist/', import.meta.url))
const OUTPUT = join(DIST, 'player')
const CONDITIONS = ['node', 'import', 'default']

/**
 * Replaces text that must be there: a source that changed is a failed build, never a launcher that fails on players'
 * machines.
 */
function replaced(code: string, id: string, pattern: RegExp, text: string): string {
  if (!pattern.test(code)) throw new Error(`${id}: nothing to replace for ${pattern}`)
  return code.replace(pattern, () => text)
}

async function oneScript(input: string, plugins: readonly Plugin[] = []): Promise<{ code: string; files: string[] }> {
  const bundle = await rolldown({
    input,
    platform: 'node',
    plugins: [...plugins],
    resolve: { conditionNames: CONDITIONS },
    onLog(level, log) {
      // How long a plugin took is the machine's doing.
      if (level === 'warn' && log.code !== 'PLUGIN_TIMINGS') throw new Error(`${input}: ${log.message}`)
    },
  })
  const { output } = await bundle.generate({ format: 'cjs', minify: true, codeSplitting: false })
  if (output.length !== 1) throw new Error(`${input}: ${output.length} files instead of one script`)
  return { code: narrow(output[0].code), files: output[0].moduleIds }
}

/** One character above U+00FF doubles what all of a script takes in memory, and what reading it takes at each start. */
function narrow(code: string): string {
  return code.replace(/[^\0-\xff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Puts inside what the sources load from beside themselves: worker, page, version, the portable cryptography. */
function selfContained(hashWorker: string, version: string): Plugin {
  return {
    name: 'self-contained',
    async transform(code, id) {
      if (id.endsWith('/backend/accelerated.js')) return withPortable(code, id)
      if (code.includes("createRequire(import.meta.url)('../"))
        return replaced(
          code,
          id,
          /createRequire\(import\.meta\.url\)\('[./]+package\.json'\)/,
          JSON.stringify({ version }),
        )
      if (id.endsWith('/dist/errors.js') && catalogue.test(code)) return await kindsOnly(code, id)
      if (id.endsWith('/hash-pool.js')) {
        const source = `const source = ${JSON.stringify(hashWorker)};`
        const inline = replaced(code, id, /const source = new URL\([^;]*;/, source)
        return replaced(inline, id, /new Worker\(source, \{/, 'new Worker(source, { eval: true,')
      }
      if (id.endsWith('/page/load-page.js')) {
        const page = Object.fromEntries(pageScripts(code).map((name) => [name, smallScript(name)]))
        // Fourteen languages are mostly text: packed they are a third of it, and unpacked once, when a page is made.
        const lazy = `let scripts_\nasync function script(name) { return (scripts_ ??= ${unpacking(page)})[name] }`
        const scripts = replaced(code, id, /async function script\(name\) \{[^]*?\n\}/, lazy)
        return `import { inflateRawSync } from 'node:zlib'\n${scripts}`
      }
      return undefined
    },
  }
}

/**
 * The cryptography that Node lacks comes from the portable backend, and only that part of it: the rest would be a tenth
 * of the bundle, and a third of the time that it takes to load.
 */
function withPortable(code: string, id: string): string {
  const used = [...new Set([...code.matchAll(/portable\(\)\.(\w+)/g)].map((match) => match[1] as string))]
  const members = used.map((name) => `${name}: portable_${name}`).join(', ')
  const load = `const load = (name) => { if (name.startsWith('./portable')) return { ${members} }; throw new Error(name) }`
  const loading = replaced(code, id, /const load = createRequire\(import\.meta\.url\);?/, load)
  // The whole of it cannot be chosen by the environment of a player.
  const fixed = replaced(loading, id, /process\.env\['KEYTURN_BACKEND'\] === 'portable'/, 'false')
  const names = used.map((name) => `${name} as portable_${name}`).join(', ')
  return `import { ${names} } from './portable.js'\n${fixed}`
}

/** Code that gives a value back which is stored packed. Needs `inflateRawSync`. */
function unpacking(value: object): string {
  const packed = deflateRawSync(JSON.stringify(value), { level: 9 }).toString('base64')
  return `JSON.parse(inflateRawSync(Buffer.from(${JSON.stringify(packed)}, 'base64')))`
}

/** The table of the codes of a package. */
const catalogue = /export const (\w+Errors) = \{\n[^]*?\n\};/

/** Meanings and remedies are for `keyturn explain`: what fails in a launcher needs the kind alone. */
async function kindsOnly(code: string, id: string): Promise<string> {
  const name = catalogue.exec(code)?.[1] ?? ''
  const found = ((await import(id)) as Record<string, ErrorCatalogue<string>>)[name] ?? {}
  const kinds = Object.fromEntries(Object.entries(found).map(([key, { kind }]) => [key, { kind }]))
  return replaced(code, id, catalogue, `export const ${name} = ${JSON.stringify(kinds)};`)
}

function smallScript(name: string): string {
  const { code, errors } = minifySync(`${name}.js`, readFileSync(join(DIST, `page/${name}.js`), 'utf8'), {
    module: true,
  })
  if (errors.length > 0) throw new Error(`page/${name}.js: ${errors[0]?.message ?? ''}`)
  return code
}

/** Names of the page's scripts, as the module lists them. */
function pageScripts(code: string): string[] {
  const list = /(?:const|let) (?:scripts|SCRIPTS) = \[([^\]]*)\]/.exec(code)?.[1] ?? ''
  return [...list.matchAll(/'([\w-]+)'/g)].map((match) => match[1] as string)
}

interface PackageFacts {
  readonly name: string
  readonly version: string
  readonly license: string
}

/** The packages that the files belong to, by name. */
function packagesOf(files: readonly string[]): PackageFacts[] {
  const found = new Map<string, PackageFacts>()
  for (const file of files.filter((name) => name.startsWith('/'))) {
    let folder = dirname(file)
    for (; folder !== dirname(folder); folder = dirname(folder)) {
      const manifest = readManifest(folder)
      if (manifest === undefined) continue
      found.set(manifest.name, manifest)
      break
    }
  }
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function readManifest(folder: string): PackageFacts | undefined {
  try {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageFacts
    return name === undefined || version === undefined ? undefined : { name, version, license }
  } catch {
    return undefined
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string }
const engine = dirname(fileURLToPath(import.meta.resolve('@keyturn/install-engine')))

const worker = await oneScript(join(engine, 'disk/hash-worker.js'))
const player = await oneScript(join(DIST, 'player/start-player.js'), [selfContained(worker.code, version)])
const loader = await oneScript(join(DIST, 'player/loader-main.js'))
mkdirSync(OUTPUT, { recursive: true })
writeFileSync(join(OUTPUT, 'player.cjs'), player.code)
writeFileSync(join(OUTPUT, 'loader.cjs'), loader.code)
const record = { bundle: sha256(player.code), loader: sha256(loader.code), packages: packagesOf(player.files) }
writeFileSync(join(OUTPUT, 'player.json'), `${JSON.stringify(record, null, 2)}\n`)
