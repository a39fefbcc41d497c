/** Which modules a module imports, and circles among them. */
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { sourceFiles } from './workspace.ts'

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*'([^']+)'|(?:^|\W)import\(\s*'([^']+)'\s*\)|(?:^|\n)\s*import\s+'([^']+)'/g

/** What a module imports, types included, as written. */
export function imports(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => (match[1] ?? match[2] ?? match[3]) as string)
}

/** Every module below a folder with those of the same folder that it imports, types included. */
export function importGraph(folder: string): Map<string, string[]> {
  const files = sourceFiles(folder)
  const known = new Set(files)
  return new Map(
    files.map((file) => {
      const names = imports(readFileSync(join(folder, file), 'utf8')).filter((name) => name.startsWith('.'))
      return [file, names.map((name) => normalize(join(dirname(file), name))).filter((name) => known.has(name))]
    }),
  )
}

/** Groups of nodes that reach each other (Tarjan's strongly connected components of more than one node). */
export function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const found: string[][] = []
  const visit = (node: string): void => {
    order.set(node, order.size)
    lowest.set(node, order.get(node) as number)
    open.push(node)
    for (const next of graph.get(node) ?? []) {
      if (!order.has(next)) visit(next)
      else if (!open.includes(next)) continue
      lowest.set(node, Math.min(lowest.get(node) as number, lowest.get(next) as number))
    }
    if (lowest.get(node) !== order.get(node)) return
    const group = open.splice(open.indexOf(node))
    if (group.length > 1) found.push(group.sort())
  }
  for (const node of graph.keys()) if (!order.has(node)) visit(node)
  return found
}
