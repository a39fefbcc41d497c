import { mkdir, mkdtemp, readdir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { Argument } from 'commander'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { clearStage } from '../demo/stage.ts'
import { drillKinds } from '../drill/plans.ts'
import type { DrillKind } from '../drill/plans.ts'
import { reportData, reportText } from '../drill/report.ts'
import { Drill } from '../drill/run-drill.ts'
import { shadowNames } from '../drill/shadow.ts'
import { CliError } from '../errors.ts'
import { wholeNumber } from '../flags/values.ts'
import { refuseExisting } from '../paths.ts'
import { loadServer } from '../server-package.ts'

interface DrillFlags {
  readonly launchers: string
  readonly checkSeconds: string
  readonly timeoutMinutes: string
  readonly out?: string | undefined
  readonly dir?: string | undefined
}

/** Registers `keyturn drill`. */
export function registerDrill(program: Command, cli: Cli): void {
  const drill = program
    .command('drill')
    .description('practise a theft or a loss on a shadow product on this machine, and report how long it took')
    .addArgument(new Argument('<event>', 'what happens').choices(drillKinds))
    .option('--launchers <n>', 'launchers that have to follow, 1 to 500', '10')
    .option('--check-seconds <n>', 'how often each launcher looks for updates', '5')
    .option('--timeout-minutes <n>', 'how long to wait for launchers each time before the drill has failed', '15')
    .option('--out <file>', 'also write the report there, as Markdown')
    .option('--dir <dir>', 'a new or empty folder to work in; it stays, with the keys of the shadow')
  cli.define<DrillFlags>(drill, {
    example: ['keyturn drill release-stolen --out drill.md', 'keyturn drill laptop-lost --launchers 50 --json'],
    run: (context, flags, [event]) => runDrill(context, flags, event as DrillKind),
  })
}

async function runDrill(context: Context, flags: DrillFlags, kind: DrillKind): Promise<CommandResult> {
  const launchers = wholeNumber(flags.launchers, '--launchers', 1, 500)
  const checkMs = wholeNumber(flags.checkSeconds, '--check-seconds', 1, 3600) * 1000
  const timeoutMs = wholeNumber(flags.timeoutMinutes, '--timeout-minutes', 1, 1440) * 60_000
  refuseExisting(flags.out, false)
  await loadServer()
  const names = await shadowNames(context.homeFolder)
  const folder = await sandbox(flags.dir)
  if (flags.dir === undefined) context.defer(() => clearStage(folder))
  const report = await new Drill(context, { kind, folder, names, launchers, checkMs, timeoutMs }).run()
  const text = reportText(report)
  if (flags.out !== undefined) await writeFileAtomic(resolve(flags.out), utf8Encode(`${text}\n`))
  const failure =
    report.failures.length === 0
      ? undefined
      : new CliError('CLI_DRILL', `The drill did not hold: ${report.failures.join('; ')}`)
  return { data: { ...reportData(report), ...(flags.dir === undefined ? {} : { folder }) }, text, failure }
}

async function sandbox(dir: string | undefined): Promise<string> {
  if (dir === undefined) return await realpath(await mkdtemp(join(tmpdir(), 'keyturn-drill-')))
  const folder = resolve(dir)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if ((await readdir(folder)).length > 0) throw new CliError('CLI_EXISTS', `"${folder}" is not empty`)
  return await realpath(folder)
}
