/**
 * Checks the workflows and the reusable action: what runs code has no rights, what has rights runs no code of ours or
 * of dependencies.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { report, root } from './workspace.ts'

interface Step {
  readonly uses?: string
  readonly run?: string
  readonly with?: Readonly<Record<string, unknown>>
}

interface Job {
  readonly permissions?: Readonly<Record<string, string>> | string
  readonly environment?: string
  readonly if?: string
  readonly steps?: readonly Step[]
}

interface Workflow {
  readonly on?: unknown
  readonly permissions?: Readonly<Record<string, string>> | string
  readonly jobs?: Readonly<Record<string, Job>>
  readonly runs?: { readonly steps?: readonly Step[] }
}

// A development dependency of one app; the checks are not worth another one.
const { parse } = createRequire(join(root, 'apps/cli/package.json'))('yaml') as { parse: (text: string) => unknown }

const PINNED = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/
/** What fetches or runs code that is not part of the runner. */
const RUNS_CODE =
  /\b(?:npx|pnpm|yarn|turbo|changeset|tsc|vitest|make)\b|\bnpm (?:ci|install|i|run|exec|test)\b|\.ci\/run|\bnode \S*\.(?:ts|js|mjs)\b/
/** Text that a stranger can write: in a script it would be run, in a condition it would decide. */
const FOREIGN_TEXT = /github\.(?:event\.(?:head_commit|commits|pull_request|issue|comment|review)|head_ref)/

function hasRights({ permissions, environment }: Job, shared: Workflow['permissions']): boolean {
  const own = permissions ?? shared
  if (own === undefined || typeof own === 'string') return own !== undefined && own !== 'read-all'
  return environment !== undefined || Object.values(own).some((level) => level === 'write')
}

function stepFlaws(place: string, { uses, run, with: inputs }: Step): string[] {
  const flaws: string[] = []
  if (uses !== undefined && !PINNED.test(uses)) flaws.push(`${place}: ${uses} is not pinned to a commit`)
  if (uses?.startsWith('actions/checkout@') === true && inputs?.['persist-credentials'] !== false)
    flaws.push(`${place}: the checkout leaves its credentials for every later step (persist-credentials: false)`)
  if (run !== undefined && run.includes('${{')) flaws.push(`${place}: a script holds an expression; give it by env`)
  return flaws
}

function jobFlaws(place: string, job: Job, shared: Workflow['permissions']): string[] {
  const steps = job.steps ?? []
  const flaws = steps.flatMap((step) => stepFlaws(place, step))
  if (job.permissions === undefined && shared === undefined) flaws.push(`${place}: has the default rights; name them`)
  if (job.if !== undefined && FOREIGN_TEXT.test(job.if)) flaws.push(`${place}: foreign text decides whether it runs`)
  if (!hasRights(job, shared)) return flaws
  for (const { uses, run } of steps) {
    if (uses?.startsWith('actions/checkout@') === true) flaws.push(`${place}: has rights and checks out the sources`)
    if (run !== undefined && RUNS_CODE.test(run))
      flaws.push(`${place}: has rights and runs code: ${RUNS_CODE.exec(run)?.[0]}`)
  }
  return flaws
}

function workflowFlaws(name: string): string[] {
  const text = readFileSync(join(root, '.github/workflows', name), 'utf8')
  const workflow = parse(text) as Workflow
  const jobs = Object.entries(workflow.jobs ?? {}).flatMap(([id, job]) =>
    jobFlaws(`${name}, job ${id}`, job, workflow.permissions),
  )
  const target = text.includes('pull_request_target')
    ? [`${name}: pull_request_target runs strangers' code with rights`]
    : []
  return [...jobs, ...target]
}

const ACTIONS = ['tooling/actions/publish', 'tooling/actions/verify-download']

/** The reusable actions run beside the keys of a publisher, or decide what a stranger's build trusts. */
function actionFlaws(place: string): string[] {
  const action = parse(readFileSync(join(root, place, 'action.yml'), 'utf8')) as Workflow
  const steps = action.runs?.steps ?? []
  const flaws = steps.flatMap((step) => stepFlaws(place, step))
  const scripts = steps.map(({ run = '' }) => run).join('\n')
  for (const line of scripts.split('\n').filter((text) => /\bnpm (?:ci|install|i)\b/.test(text)))
    if (!line.includes('--ignore-scripts') || /@latest|@next/.test(line))
      flaws.push(`${place}: installs with scripts or not one exact version: ${line.trim()}`)
  for (const check of ['npm audit signatures', 'verify-provenance.mjs'])
    if (!scripts.includes(check)) flaws.push(`${place}: does not run ${check}`)
  return flaws
}

const names = readdirSync(join(root, '.github/workflows')).filter((name) => name.endsWith('.yml'))
report(`workflows (${names.length})`, [...names.flatMap(workflowFlaws), ...ACTIONS.flatMap(actionFlaws)])
