import type { Outcome, Results } from './outcome.ts'
import { PROGRAMS, programsOf, README_PACKAGES, RUNTIMES } from './runtimes.ts'
import type { Runtime } from './runtimes.ts'

const reason = ({ code, message = '' }: Outcome): string =>
  code === undefined || code === '' ? message.split('\n')[0] || 'no reason' : `\`${code}\``

function cell(runtime: Runtime, program: string, results: Results): string {
  if (!programsOf(runtime).includes(program)) return '–'
  const outcomes = results[runtime.name]?.outcomes.filter((outcome) => outcome.program === program) ?? []
  if (outcomes.length === 0) return 'not run'
  const failed = outcomes.filter(({ works }) => !works)
  if (failed.length === 0) return 'works'
  const reasons = [...new Set(failed.map(reason))].join(', ')
  if (failed.length === outcomes.length) return `refused: ${reasons}`
  return `works without ${failed.map(({ feature }) => feature).join('; ')} (${reasons})`
}

/** docs/runtimes.md, from a recorded run. */
export function runtimesPage(results: Results): string {
  const columns = RUNTIMES.map(({ name }) => name)
  const rows = Object.entries(PROGRAMS).map(
    ([program, entry]) =>
      `| ${[`\`${entry}\``, ...RUNTIMES.map((runtime) => cell(runtime, program, results))].join(' | ')} |`,
  )
  const versions = RUNTIMES.map(({ name }) => `${name}: ${results[name]?.version ?? 'not run'}`).join('; ')
  const all = Object.values(results).flatMap(({ outcomes }) => outcomes)
  const features = Object.entries(PROGRAMS).map(([program, entry]) => {
    const names = all.filter((outcome) => outcome.program === program).map(({ feature }) => feature)
    return `| \`${entry}\` | ${[...new Set(names)].filter((name) => name !== '').join('; ')} |`
  })
  return `# Where the packages run

A small program for each package, and the first program of ${README_PACKAGES.length} READMEs word for word, installed from the packed
tarballs as a user would, run on every runtime below.
\`node tooling/runtimes/run.ts --write\` runs them and writes this page; \`pnpm campaign\` runs them and fails when one
ends in another way than this page says. The tests run the oldest and the workspace's own Node.

| package | ${columns.join(' | ')} |
|---|${columns.map(() => '---|').join('')}
${rows.join('\n')}

"–" means that the entry point is for files and processes, which the runtime does not have. Where something
is refused, it is refused with the code in the table, and the process goes on.

Versions that ran: ${versions}. On Linux, x64. workerd ran without its imitation of Node; Chromium is Debian's.
For workerd and for esbuild, the first program with archives names the place of zstd, and the README's uses it.

**Electron** was not run. Its cryptography is BoringSSL, as Bun's is: \`chacha20-poly1305\` is missing in
\`node:crypto\`, and libsodium or the noble libraries do that work.

## What each program does

| package | features |
|---|---|
${features.join('\n')}
`
}
