/**
 * `pnpm campaign --minutes 10 [--seed N] [--only TEXT] [--list]`: runs every campaign, one after the other, sharing the
 * time.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../checks/workspace.ts'
import { allCampaigns } from './campaigns.ts'
import type { Batch, Campaign } from './campaigns.ts'

/** A batch that hangs is a finding. Long enough for any batch on a busy machine. */
const HANG_MS = 3_600_000
/** A smaller batch would measure the start of a process rather than the code. */
const WORTHWHILE_MS = 3000
const SHOWN_LINES = 40

interface Figures {
  readonly name: string
  readonly unit: string
  batches: number
  total: number
  seconds: number
  readonly seeds: number[]
  readonly findings: string[]
}

function commandLine({ folder, command, env }: Campaign, batch: Batch): string {
  const variables = Object.entries(env?.(batch) ?? {}).map(([name, value]) => `${name}=${value}`)
  return [
    `cd ${folder} &&`,
    ...variables,
    ...command(batch).map((word) => (word.includes(' ') ? `'${word}'` : word)),
  ].join(' ')
}

/** Runs one batch. Returns what it found, if anything. */
function runBatch(campaign: Campaign, batch: Batch): string | undefined {
  const [program, ...args] = campaign.command(batch)
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    cwd: join(root, campaign.folder),
    encoding: 'utf8',
    timeout: HANG_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 256 * 1024 * 1024,
    // Without CI, which retries a failed test: here each failure is a finding.
    env: { ...process.env, CI: undefined, ...campaign.env?.(batch) },
  })
  if (status === 0) {
    for (const line of stdout.split('\n')) {
      const match = campaign.shown?.exec(line)
      if (match !== undefined && match !== null) console.log(`    ${match[0]}`)
    }
    return undefined
  }
  const shown = `${stdout}${stderr}`.trimEnd().split('\n').slice(-SHOWN_LINES).join('\n')
  return `ended with ${status ?? signal ?? error?.message}\n${shown}`
}

/** Runs batches with one seed after another until the share of time is used up. */
function runCampaign(campaign: Campaign, firstSeed: number, shareMs: number): Figures {
  const figures: Figures = {
    name: campaign.name,
    unit: campaign.unit ?? 'batches',
    batches: 0,
    total: 0,
    seconds: 0,
    seeds: [],
    findings: [],
  }
  let size = campaign.firstSize ?? 1
  let leftMs = shareMs
  for (let seed = firstSeed; ; seed++) {
    const batch = { seed, size }
    console.log(`  seed ${seed}${campaign.unit === undefined ? '' : `, ${size} ${campaign.unit}`}`)
    const start = performance.now()
    const found = runBatch(campaign, batch)
    const tookMs = performance.now() - start
    figures.batches++
    figures.total += size
    figures.seconds += tookMs / 1000
    figures.seeds.push(seed)
    if (found !== undefined) {
      figures.findings.push(commandLine(campaign, batch))
      console.error(`  FINDING: ${commandLine(campaign, batch)}\n${found}`)
      return figures
    }
    leftMs -= tookMs
    if (leftMs < Math.max(WORTHWHILE_MS, campaign.unit === undefined ? tookMs / 2 : 0)) return figures
    if (campaign.unit !== undefined) size = Math.max(1, Math.round(size * Math.min(10, Math.max(0.1, leftMs / tookMs))))
  }
}

function table(all: readonly Figures[]): string {
  const rows = all.map(({ name, unit, total, batches, seeds, seconds, findings }) => {
    const range = seeds.length > 1 ? `${seeds[0]} to ${seeds.at(-1)}` : `${seeds[0]}`
    return `| ${name} | ${total.toLocaleString('en')} ${unit} in ${batches} | ${range} | ${seconds.toFixed(0)} s | ${findings.length} |`
  })
  return ['| campaign | done | seeds | time | findings |', '|---|---|---|---|---|', ...rows].join('\n')
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
    list: { type: 'boolean', default: false },
  },
})
const minutes = Number(values.minutes)
const firstSeed = Number(values.seed ?? Date.now() % 2 ** 31)
const campaigns = allCampaigns().filter(({ name, folder }) => `${folder} ${name}`.includes(values.only))
if (!(minutes > 0) || !Number.isSafeInteger(firstSeed) || firstSeed < 0 || campaigns.length === 0) {
  console.error('Usage: pnpm campaign --minutes 10 [--seed 20261121] [--only "vault"] [--list]')
  process.exit(2)
}
if (values.list) {
  for (const campaign of campaigns)
    console.log(`${campaign.name}\n    ${commandLine(campaign, { seed: firstSeed, size: campaign.firstSize ?? 1 })}`)
  process.exit(0)
}
const deadline = performance.now() + minutes * 60_000
const all = campaigns.map((campaign, index) => {
  console.log(`── ${campaign.name}`)
  return runCampaign(campaign, firstSeed, (deadline - performance.now()) / (campaigns.length - index))
})
console.log(`\n${table(all)}\n`)
const findings = all.flatMap((figures) => figures.findings)
for (const finding of findings) console.log(`finding: ${finding}`)
console.log(`campaigns: ${all.length}, first seed ${firstSeed}, ${findings.length} findings`)
process.exitCode = findings.length === 0 ? 0 : 1
