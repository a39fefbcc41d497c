/** Puts built modules together, so that a program or a thread starts from few files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import type { RolldownOutput } from 'rolldown'
import { keepOrigins, originOf } from './origins.ts'
import type { Origin } from './origins.ts'

/** Native modules, and what only one platform has. */
const LOADED_BY_NAME = ['sodium-native', 'koffi', '@napi-rs/keyring']
/** Modules that as many parts of a program import are in one file; a smaller number loads more that is not used. */
const SPLITTING = { groups: [{ name: 'shared', minShareCount: 12 }] }

/** Options of {@link bundle}. */
export interface BundleOptions {
  /** Folder of the package that is built. */
  readonly own: string
  /** Names of the entries, and their built modules. */
  readonly input: Readonly<Record<string, string>>
  /** Folder that the files go to. */
  readonly output: string
  /** Packages that are loaded from where they are installed. */
  readonly external?: readonly string[]
  /** One file, such as a worker that is named by its address. */
  readonly single?: boolean
}

/**
 * Writes a bundle that people can read: not minified, each module under a heading with its path, and the licenses of
 * all that is inside.
 *
 * A warning of the bundler is a failed build, except for imports that are lazy in one place and not in another.
 */
export async function bundle({ own, input, output, external = [], single = false }: BundleOptions): Promise<void> {
  const build = await rolldown({
    cwd: own,
    input: { ...input },
    platform: 'node',
    external: [/^node:/, ...LOADED_BY_NAME, ...external.map((name) => new RegExp(`^${name}(?:/|$)`))],
    plugins: [keepOrigins(own, output)],
    resolve: { conditionNames: ['node', 'import', 'default'] },
    onLog(level, log) {
      // How long plugins took says how busy the machine is, nothing about the bundle.
      const isHarmless = log.code === 'INEFFECTIVE_DYNAMIC_IMPORT' || log.code === 'PLUGIN_TIMINGS'
      if (level === 'warn' && !isHarmless) throw new Error(log.message)
    },
  })
  try {
    const names = { entryFileNames: '[name].js', chunkFileNames: 'chunks-[name]-[hash].js' }
    const result = await build.generate({
      format: 'esm',
      minify: false,
      codeSplitting: single ? false : SPLITTING,
      ...names,
    })
    write(result, output)
  } finally {
    await build.close()
  }
}

function write({ output: files }: RolldownOutput, output: string): void {
  mkdirSync(output, { recursive: true })
  for (const file of files) {
    if (file.type === 'asset') throw new Error(`${file.fileName}: an asset, and nothing here makes one`)
    writeFileSync(join(output, file.fileName), file.code)
  }
  const modules = files.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []))
  const notices = foreign(modules).map((origin) => notice(origin))
  if (notices.length > 0) writeFileSync(join(output, 'LICENSES.txt'), notices.join('\n'))
}

/** Packages of others that modules come from, by name. */
function foreign(modules: readonly string[]): Origin[] {
  const found = new Map<string, Origin>()
  for (const id of modules) {
    const origin = originOf(id)
    if (origin !== undefined && !origin.name.startsWith('@keyturn/'))
      found.set(`${origin.name} ${origin.version}`, origin)
  }
  return [...found].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, origin]) => origin)
}

function notice({ folder, name, version, license }: Origin): string {
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  if (file === undefined) throw new Error(`${name} has no file with its license: leave it outside`)
  return `${name} ${version}, ${license}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n\n${'-'.repeat(80)}\n`
}

/** Removes what an earlier build left. */
export function emptyFolder(folder: string): void {
  if (existsSync(folder)) rmSync(folder, { recursive: true })
}
