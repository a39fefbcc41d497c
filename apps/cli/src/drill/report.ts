import { arch, platform, release } from 'node:os'
import type { CommandData } from '../command.ts'
import { version } from '../version.ts'
import { drillPlans } from './plans.ts'
import type { Attempt, DrillReport, Milestone } from './run-drill.ts'
import type { TypedCommand } from './shadow.ts'

/** How often a launcher looks unless its settings say otherwise. */
const CHECK_MINUTES = 60

function duration(ms: number | undefined): string {
  if (ms === undefined) return 'not in time'
  return ms < 60_000
    ? `${(ms / 1000).toFixed(1)} s`
    : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

function codes(refusals: Readonly<Record<string, number>>): string {
  const list = Object.entries(refusals).map(([code, count]) => `${code} (${count})`)
  return list.length === 0 ? 'none' : list.join(', ')
}

function milestoneRow({ what, firstMs, lastMs, missing }: Milestone): string {
  return `| ${what} | ${duration(firstMs)} | ${duration(lastMs)} | ${missing} |`
}

function typedRow({ line, ms, code }: TypedCommand): string {
  return `| \`${line}\` | ${duration(ms)}${code === '' ? '' : `, failed: ${code}`} |`
}

function attemptRow({ what, launchers, installs, refusals }: Attempt): string {
  return `| ${what} | ${launchers === 0 ? 'the server' : launchers} | ${installs} | ${codes(refusals)} |`
}

function setting({ startedMs, names, launchers, processes, checkMs }: DrillReport): string[] {
  return [
    `- Date: ${new Date(startedMs).toISOString()}`,
    `- Program: keyturn ${version()}, Node ${process.version}, ${platform()} ${release()} ${arch()}`,
    names.isFromHome
      ? `- Product: a shadow of \`${names.product}\`, channel \`${names.channel}\`: the same names, and keys of its own`
      : `- Product: \`${names.product}\`, channel \`${names.channel}\`: no home was found to take names from`,
    `- Launchers: ${launchers} installs in ${processes} processes, with a server on this machine. Each looks for`,
    `  updates every ${checkMs / 1000} s. Launchers of players look at every start, and every ${CHECK_MINUTES}`,
    '  minutes in between: add that to the times below',
  ]
}

/** The report as a page that can be filed. */
export function reportText(report: DrillReport): string {
  const { kind, milestones, attempts, typed, failures, plays, playProblems, checks, refusedChecks } = report
  const { happens, until } = drillPlans[kind]
  return [
    `# Drill: ${kind}`,
    '',
    failures.length === 0 ? '**The drill held.**' : `**The drill did not hold.** ${failures.join('. ')}.`,
    '',
    ...setting(report),
    '',
    '## What happened',
    '',
    happens,
    '',
    `Until the publisher has acted: ${until}`,
    '',
    '## How long it took',
    '',
    '| | first launcher | last launcher | missing |',
    '|---|---|---|---|',
    ...milestones.map((milestone) => milestoneRow(milestone)),
    '',
    '## What players noticed',
    '',
    playProblems.length === 0
      ? `Nothing: the game was started ${plays} times, and each time it opened all of its archives.`
      : `Of ${plays} starts, ${playProblems.length} failed: ${playProblems.slice(0, 5).join('; ')}`,
    `Launchers looked for updates ${checks} times. Refused meanwhile: ${codes(refusedChecks)}.`,
    '',
    '## What the publisher typed',
    '',
    '| command | took |',
    '|---|---|',
    ...typed.map((command) => typedRow(command)),
    '',
    'Every question was answered with yes, and the passphrase came from a file. Commands of `keyturn-server` were done',
    'by the drill, on the server that it runs.',
    ...(attempts.length === 0
      ? []
      : [
          '',
          '## What the thief tried afterwards',
          '',
          '| shown | to launchers | installed it | refused with |',
          '|---|---|---|---|',
          ...attempts.map((attempt) => attemptRow(attempt)),
        ]),
  ].join('\n')
}

/** The same for programs. */
export function reportData(report: DrillReport): CommandData {
  const { failures, startedMs, names, checkMs, milestones, attempts, typed } = report
  return {
    drill: report.kind,
    held: failures.length === 0,
    failures: [...failures],
    date: new Date(startedMs).toISOString(),
    program: version(),
    node: process.version,
    machine: `${platform()} ${release()} ${arch()}`,
    product: names.product,
    channel: names.channel,
    names_from_home: names.isFromHome,
    launchers: report.launchers,
    processes: report.processes,
    check_seconds: checkMs / 1000,
    milestones: milestones.map(({ what, firstMs, lastMs, missing }) => ({
      what,
      first_ms: firstMs ?? null,
      last_ms: lastMs ?? null,
      missing,
    })),
    commands: typed.map(({ line, ms, code }) => ({ line, ms, code })),
    checks: report.checks,
    refused_checks: { ...report.refusedChecks },
    plays: report.plays,
    play_problems: [...report.playProblems],
    attempts: attempts.map(({ what, launchers, installs, refusals }) => ({
      what,
      launchers,
      installs,
      refusals: { ...refusals },
    })),
  }
}
