/**
 * Holds functions to 60 lines and 4 parameters, files to 400 lines unless their first comment says why not, and lines
 * to 160 columns.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAst } from 'rolldown/parseAst'
import { reportAgainstBaseline } from './baseline.ts'
import { root, trackedFiles } from './workspace.ts'

const FUNCTION_LINES = 60
const FILE_LINES = 400
const PARAMETERS = 4
const COLUMNS = 120
/** What other people's functions take is not ours to change. */
const FOREIGN = ['packages/primitives/src/backend/sodium.ts']
/** The title of a test is one text, which the catalogue of docs/reliability.md reads. */
const TITLE = /^\s*(?:(?:it|describe)\b[^'"`]*\(|\}?\]?\)\()['"`]/
/** In the first comment of a long file, or in the comment right above a long function: `Long because …`. */
const REASON = /^(?:#!.*\n)?(?:\/\*\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/
const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'])
const SIGNATURES = new Set([...FUNCTIONS, 'TSDeclareFunction', 'TSFunctionType', 'TSMethodSignature'])

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly id?: { readonly name?: string } | null
  readonly key?: { readonly name?: string }
}

function isNode(value: unknown): value is Node & Record<string, unknown> {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value
}

/** Calls back for every function of a module and every type of one, nested ones included. */
function visitFunctions(text: string, visit: (node: Node & Record<string, unknown>, name: string) => void): void {
  const walk = (node: unknown, name: string): void => {
    if (Array.isArray(node)) for (const item of node) walk(item, name)
    if (!isNode(node)) return
    const own = node.id?.name ?? node.key?.name ?? name
    if (SIGNATURES.has(node.type)) visit(node, own === '' ? 'a function' : own)
    for (const [member, value] of Object.entries(node)) if (member !== 'id' && member !== 'key') walk(value, own)
  }
  walk(parseAst(text, { lang: 'ts' }).body, '')
}

function hasReason(text: string, start: number): boolean {
  const above = text
    .slice(0, start)
    .replace(/(?:export |default )*$/, '')
    .trimEnd()
  return above.endsWith('*/') && above.slice(above.lastIndexOf('/**')).includes('Long because ')
}

/** Notes the functions of a module that are too long or take too much. */
function measureFunctions(text: string, file: string): void {
  const starts = lineStarts(text)
  const lineOf = (offset: number): number => upperBound(starts, offset)
  visitFunctions(text, (node, name) => {
    const place = `${file}:${lineOf(node.start)}: ${name}`
    const lines = lineOf(node.end) - lineOf(node.start) + 1
    if (FUNCTIONS.has(node.type) && lines > FUNCTION_LINES && !hasReason(text, node.start))
      add(`functions over ${FUNCTION_LINES} lines`, `${place} has ${lines} lines`)
    const { length } = node['params'] as readonly unknown[]
    if (length > PARAMETERS && !FOREIGN.includes(file))
      add(`functions over ${PARAMETERS} parameters`, `${place} takes ${length}`)
  })
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

/** How many starts are at or before an offset: the line, counted from 1. */
function upperBound(starts: readonly number[], offset: number): number {
  let low = 0
  let high = starts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((starts[middle] as number) <= offset) low = middle + 1
    else high = middle
  }
  return low
}

const findings = new Map<string, string[]>()
const add = (what: string, place: string): void => void findings.set(what, [...(findings.get(what) ?? []), place])

for (const file of trackedFiles().filter((name) => name.endsWith('.ts') && !/\/(?:golden|vectors)\//.test(name))) {
  const text = readFileSync(join(root, file), 'utf8')
  const isTest = /\/(?:test|campaign|bench)\//.test(file)
  const lines = text.split('\n')
  if (!isTest) {
    measureFunctions(text, file)
    if (lines.length > FILE_LINES && !/Long because /.test(REASON.exec(text)?.[0] ?? ''))
      add(
        `files over ${FILE_LINES} lines without "Long because" in the first comment`,
        `${file}: ${lines.length} lines`,
      )
  }
  for (const [index, line] of lines.entries())
    if (line.length > COLUMNS && !/https?:\/\//.test(line) && !(isTest && TITLE.test(line)))
      add(`lines over ${COLUMNS} columns`, `${file}:${index + 1}: ${line.length} columns`)
}
reportAgainstBaseline('lengths', findings)
