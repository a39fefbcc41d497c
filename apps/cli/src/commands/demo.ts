import { mkdir, mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { Demo } from '../demo/run-demo.ts'
import { clearStage } from '../demo/stage.ts'
import type { DemoTotals } from '../demo/run-demo.ts'
import { seconds } from '../demo/steps.ts'
import type { DemoStep } from '../demo/steps.ts'
import { CliError } from '../errors.ts'
import { requireFolder } from '../paths.ts'
import { loadServer } from '../server-package.ts'
import { counted, formatTable } from '../output.ts'

interface DemoFlags {
  readonly input?: string | undefined
  readonly dir?: string | undefined
  readonly keep?: boolean | undefined
}

/** Registers `keyturn demo`. */
export function registerDemo(program: Command, cli: Cli): void {
  const demo = program
    .command('demo')
    .description('run the whole story on this machine: publish, install, rotate keys, reject forged releases')
    .option('--input <dir>', 'the tree to release (default: the packages installed with this program)')
    .option('--dir <dir>', 'a new or empty folder to work in, which is kept')
    .option('--keep', 'leave server and launcher page running until Ctrl-C, and keep the folder')
  cli.define<DemoFlags>(demo, { example: ['keyturn demo', 'keyturn demo --input ./client --keep'], run: runDemo })
}

async function runDemo(context: Context, flags: DemoFlags): Promise<CommandResult> {
  if (flags.input !== undefined) requireFolder(flags.input)
  await loadServer()
  const folder = await demoFolder(flags.dir)
  const keeps = flags.dir !== undefined || flags.keep === true
  if (!keeps) context.defer(() => clearStage(folder))
  const demo = new Demo(context, { input: flags.input === undefined ? undefined : resolve(flags.input), folder })
  const started = performance.now()
  let thrown: unknown
  try {
    await demo.run()
  } catch (error) {
    if (context.signal.aborted || demo.steps.ok) throw error
    thrown = error
  }
  const ms = Math.round(performance.now() - started)
  const runs = flags.keep === true && thrown === undefined
  const kept = keeps ? { folder, ...(runs ? await addresses(demo) : {}) } : undefined
  const result = answer(demo, ms, kept, thrown)
  if (!runs) return result
  context.announce(result)
  await new Promise<void>((done) => {
    context.signal.addEventListener('abort', () => done(), { once: true })
  })
  return result
}

/** What is left: the folder, and with `--keep` what goes on running. */
type Kept = Readonly<Record<string, string>>

async function addresses(demo: Demo): Promise<Kept> {
  const { url, tokenFile } = demo.stage
  return {
    server: url,
    dashboard: `${url}/dashboard`,
    dashboard_token: tokenFile,
    launcher: await demo.stage.openPage(),
  }
}

function answer(demo: Demo, ms: number, kept: Kept | undefined, thrown: unknown): CommandResult {
  const { steps, ok } = demo.steps
  const totals = demo.totals()
  const failed = steps.filter((step) => !step.ok).map(({ name }) => name)
  const failure = ok
    ? undefined
    : new CliError('CLI_DEMO', `Not every check held: ${failed.join(', ')}`, { cause: thrown })
  return {
    data: {
      steps: steps.map((step) => ({ ...step })),
      totals: { ...totals, ms },
      ...kept,
    },
    text: summary(steps, totals, ms, kept),
    failure,
  }
}

function summary(steps: readonly DemoStep[], totals: DemoTotals, ms: number, kept: Kept | undefined): string {
  const share = (bytes: number): string => `${((bytes / Math.max(1, totals.full_bytes)) * 100).toFixed(2)} %`
  const held = steps.filter((step) => step.ok).length
  const rows = [
    ['input', `${counted(totals.files, 'file')}, ${formatBytes(totals.input_bytes)}`, ''],
    ['full download', formatBytes(totals.full_bytes), '100 %'],
    ['content key rotated', formatBytes(totals.content_turn_bytes), share(totals.content_turn_bytes)],
    ['3 % of the files edited', formatBytes(totals.edit_bytes), share(totals.edit_bytes)],
    ['identity rotated', formatBytes(totals.identity_turn_bytes), share(totals.identity_turn_bytes)],
    ['attacks refused', String(totals.refusals), ''],
    ['steps that held', `${held} of ${steps.length}`, seconds(ms)],
  ]
  const left = Object.entries(kept ?? {}).map(([name, value]) => [name.replace('_', ' '), value])
  const stop = kept?.['server'] === undefined ? [] : ['', 'Ctrl-C stops server and launcher.']
  return [formatTable(rows), ...(left.length === 0 ? [] : ['', formatTable(left)]), ...stop].join('\n')
}

async function demoFolder(dir: string | undefined): Promise<string> {
  if (dir === undefined) return await mkdtemp(join(tmpdir(), 'keyturn-demo-'))
  const folder = resolve(dir)
  await mkdir(folder, { recursive: true })
  if ((await readdir(folder)).length > 0) throw new CliError('CLI_EXISTS', `"${folder}" is not empty`)
  return folder
}
