/** Holds the workspace to its drawing: which way arrows point, where Node may be used, what is documented. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { members, NODE_PACKAGES, report, root, sourceFiles } from './workspace.ts'
import type { Member } from './workspace.ts'

/** Workspace packages that each package may import, as the table of docs/architecture.md draws it; all may import primitives. */
function drawnArrows(): ReadonlyMap<string, readonly string[]> {
  const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const table = /\| is built on, primitives apart \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(text)?.[1] ?? ''
  const rows = table
    .trimEnd()
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, 3)
        .map((cell) => cell.split(',').map((name) => name.trim())),
    )
  const arrows = rows.flatMap(([names = [], targets = []]) =>
    names.map((name): [string, string[]] => [name, ['primitives', ...targets.filter((target) => target !== '–')]]),
  )
  return new Map([['primitives', []], ...arrows])
}

const ARROWS = drawnArrows()

/** Core files that may import `node:` modules, with the reason. */
const NODE_IN_CORE: readonly string[] = [
  // Chosen by the `node` condition of package imports; browsers get portable.ts instead.
  'packages/primitives/src/backend/accelerated.ts',
]

/** Folders below src/ whose code needs Node, each behind an export subpath of its own. */
const NODE_FOLDERS = ['node/', 'testing/', 'sqlite/', 'dht/', 'keychain/', 'git/']

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*'([^']+)'|(?:^|\W)import\(\s*'([^']+)'\s*\)|(?:^|\n)\s*import\s+'([^']+)'/g

function imports(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => (match[1] ?? match[2] ?? match[3]) as string)
}

function checkArrows({ folder, manifest }: Member, file: string, names: readonly string[]): string[] {
  const allowed = ARROWS.get(folder) ?? []
  const declared = { ...manifest.dependencies, ...manifest.optionalDependencies }
  return names.flatMap((name) => {
    if (name.startsWith('.') || name.startsWith('node:') || name.startsWith('#')) return []
    const parts = name.split('/')
    const dependency = name.startsWith('@') ? `${parts[0]}/${parts[1]}` : (parts[0] as string)
    if (dependency === manifest.name) return []
    if (!(dependency in declared)) return [`${file}: imports ${dependency}, which package.json does not list`]
    if (!dependency.startsWith('@keyturn/')) return []
    return allowed.includes(dependency.slice('@keyturn/'.length))
      ? []
      : [`${file}: the arrow to ${dependency} is not in the drawing`]
  })
}

function checkNode({ group, folder }: Member, inSource: string, file: string, names: readonly string[]): string[] {
  if (group === 'apps' || NODE_PACKAGES.includes(folder) || NODE_IN_CORE.includes(file)) return []
  if (NODE_FOLDERS.some((name) => inSource.startsWith(name))) return []
  return names
    .filter((name) => name.startsWith('node:') || NODE_FOLDERS.some((node) => name.startsWith(`./${node}`)))
    .map((name) => `${file}: a core imports ${name}`)
}

const REEXPORT = /export\s+(?:type\s+)?\{([^}]*)\}\s+from\s+'(\.[^']+)'/g

/** Finds re-exported names whose declaration has no doc block right before it. */
function checkDocumented(face: string): string[] {
  const text = readFileSync(face, 'utf8')
  const findings: string[] = []
  for (const [, list = '', from = ''] of text.matchAll(REEXPORT)) {
    const file = join(dirname(face), from)
    if (!existsSync(file)) continue
    const lines = readFileSync(file, 'utf8').split('\n')
    for (const item of list.split(',')) {
      const name = item
        .trim()
        .replace(/^type\s+/, '')
        .split(/\s+as\s+/)[0]
        ?.trim()
      if (name === undefined || name === '') continue
      const declaration = new RegExp(
        `^export (?:declare )?(?:abstract )?(?:async )?(?:class|function\\*?|const|interface|type|let) ${name.replaceAll('$', '\\$')}\\b`,
      )
      const at = lines.findIndex((line) => declaration.test(line))
      if (at >= 0 && !(lines[at - 1] ?? '').trimEnd().endsWith('*/')) {
        findings.push(`${relative(root, file)}: ${name} is public and has no doc block`)
      }
    }
  }
  return findings
}

/** Arrows that are drawn and not there, or there and not drawn. */
function checkDrawing({ folder, manifest }: Member): string[] {
  const real = Object.keys(manifest.dependencies ?? {})
    .filter((name) => name.startsWith('@keyturn/'))
    .map((name) => name.slice('@keyturn/'.length))
    .sort()
  const drawn = [...(ARROWS.get(folder) ?? [])].sort()
  return real.join() === drawn.join()
    ? []
    : [`docs/architecture.md draws ${folder} on ${drawn.join(', ')}; its package.json has ${real.join(', ')}`]
}

const findings = members().flatMap((member) => {
  const source = join(member.path, 'src')
  const perFile = sourceFiles(source).flatMap((name) => {
    const file = relative(root, join(source, name))
    const text = readFileSync(join(source, name), 'utf8')
    const names = imports(text)
    const defaults = /^export default /m.test(text) ? [`${file}: has a default export`] : []
    return [...defaults, ...checkArrows(member, file, names), ...checkNode(member, name, file, names)]
  })
  const faces = Object.values(member.manifest.exports ?? {}).flatMap((target) =>
    typeof target === 'string'
      ? []
      : [join(member.path, target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts'))],
  )
  return [...checkDrawing(member), ...perFile, ...faces.filter((face) => existsSync(face)).flatMap(checkDocumented)]
})
report('structure', findings)
