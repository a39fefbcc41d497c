/**
 * Checks the workspace against its drawing: which way arrows point, between packages and inside them, where Node may be
 * used, what is documented.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { circles, importGraph, imports } from './imports.ts'
import { members, NODE_PACKAGES, report, root, sourceFiles } from './workspace.ts'
import type { Member } from './workspace.ts'

/** The rows of the table of docs/architecture.md whose last column has that heading; each cell is a list of names. */
function drawnTable(heading: string): string[][][] {
  const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const table = new RegExp(`\\| ${heading} \\|\\n\\|[-|]+\\|\\n((?:\\|.*\\n)+)`).exec(text)?.[1]
  if (table === undefined) throw new Error(`docs/architecture.md has no table with the column "${heading}"`)
  return table
    .trimEnd()
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) =>
          cell.split(',').flatMap((name) => (name.trim() === '–' ? [] : [name.replaceAll('`', '').trim()])),
        ),
    )
}

/** Workspace packages that each package may import, as the drawing has it; all may import primitives. */
function drawnArrows(): ReadonlyMap<string, readonly string[]> {
  const rows = drawnTable('is built on, primitives apart')
  const arrows = rows.flatMap(([names = [], targets = []]) =>
    names.map((name): [string, string[]] => [name, ['primitives', ...targets]]),
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
const NODE_FOLDERS = ['node/', 'testing/', 'sqlite/', 'postgres/', 'dht/', 'keychain/', 'git/']

/** Rooms (folders below src/) of a package or app, each with those that it may import. */
function drawnRooms(): ReadonlyMap<string, ReadonlyMap<string, readonly string[]>> {
  const rooms = new Map<string, Map<string, readonly string[]>>()
  for (const [owners = [], names = [], targets = []] of drawnTable('may import, files at the root of src apart')) {
    for (const owner of owners) {
      const own = rooms.get(owner) ?? new Map<string, readonly string[]>()
      rooms.set(owner, own)
      for (const name of names) own.set(name, targets)
    }
  }
  return rooms
}

const ROOMS = drawnRooms()

/** Circles of files, types included, and arrows between rooms that are not drawn. */
function checkInside({ group, folder, path }: Member): string[] {
  const graph = importGraph(join(path, 'src'))
  const own = `${group}/${folder}/src/`
  const rounds = circles(graph).map((files) => `${own}: ${files.join(', ')} import each other in a circle`)
  const rooms = ROOMS.get(folder) ?? new Map<string, readonly string[]>()
  const roomOf = (file: string): string | undefined =>
    file.includes('/') ? file.slice(0, file.indexOf('/')) : undefined
  const real = new Set([...graph.keys()].flatMap((file) => roomOf(file) ?? []))
  const missing = [...real]
    .filter((room) => !rooms.has(room))
    .map((room) => `docs/architecture.md does not draw the room ${own}${room}`)
  const gone = [...rooms.keys()]
    .filter((room) => !real.has(room))
    .map((room) => `docs/architecture.md draws ${own}${room}, which is not there`)
  const arrows = [...graph].flatMap(([file, targets]) => {
    const from = roomOf(file)
    if (from === undefined) return []
    return targets.flatMap((target) => {
      const to = roomOf(target)
      if (to === undefined || to === from || rooms.get(from)?.includes(to) !== false) return []
      return [`${own}${file}: imports ${target}; the arrow from ${from} to ${to} is not in the drawing`]
    })
  })
  return [...rounds, ...missing, ...gone, ...arrows]
}

function checkArrows({ folder, manifest }: Member, file: string, names: readonly string[]): string[] {
  const allowed = ARROWS.get(folder) ?? []
  const declared = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.peerDependencies }
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
        '^export (?:declare )?(?:abstract )?(?:async )?(?:class|function\\*?|const|interface|type|let) ' +
          `${name.replaceAll('$', '\\$')}\\b`,
      )
      const at = lines.findIndex((line) => declaration.test(line))
      if (at >= 0 && !(lines[at - 1] ?? '').trimEnd().endsWith('*/')) {
        findings.push(`${relative(root, file)}: ${name} is public and has no doc block`)
      }
    }
  }
  return findings
}

/** Arrows that are drawn but do not exist, or exist but are not drawn. */
function checkDrawing({ folder, manifest }: Member): string[] {
  const real = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
    .filter((name) => name.startsWith('@keyturn/'))
    .map((name) => name.slice('@keyturn/'.length))
    .sort()
  const drawn = [...(ARROWS.get(folder) ?? [])].sort()
  return real.join() === drawn.join()
    ? []
    : [`docs/architecture.md draws ${folder} on ${drawn.join(', ')}; its package.json has ${real.join(', ')}`]
}

const drawnRounds = [...ROOMS].flatMap(([owner, rooms]) =>
  circles(rooms).map((names) => `docs/architecture.md draws a circle of the rooms ${names.join(', ')} in ${owner}`),
)
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
  return [
    ...checkDrawing(member),
    ...checkInside(member),
    ...perFile,
    ...faces.filter((face) => existsSync(face)).flatMap(checkDocumented),
  ]
})
report('structure', [...drawnRounds, ...findings])
