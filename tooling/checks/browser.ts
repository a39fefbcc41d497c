/** Bundles the core of every package, with its examples that need no Node, and runs it in headless Chromium. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { members, NODE_PACKAGES, report, sourceFiles } from './workspace.ts'
import type { Member } from './workspace.ts'

/** For a browser that hangs; long enough for a busy machine. */
const TIMEOUT_MS = 300_000
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--virtual-time-budget=60000',
  '--dump-dom',
]

async function bundle(entry: string): Promise<string> {
  const build = await rolldown({
    input: entry,
    platform: 'browser',
    external: [],
    logLevel: 'silent',
    resolve: { conditionNames: ['import', 'browser', 'default'] },
    treeshake: true,
  })
  try {
    const { output } = await build.generate({ format: 'esm', codeSplitting: false })
    return output[0].code
  } finally {
    await build.close()
  }
}

/** A page that runs the code and writes the result into itself. */
function page(code: string): string {
  const prelude = `
    const lines = []
    for (const name of ['log', 'info', 'warn', 'error']) console[name] = (...parts) => lines.push(parts.map(String).join(' '))
    const done = (verdict) => { document.body.dataset.verdict = verdict; document.body.textContent = lines.join('\\n') }
    addEventListener('error', (event) => done('failed: ' + event.message))
    addEventListener('unhandledrejection', (event) => done('failed: ' + (event.reason?.stack ?? event.reason)))
    globalThis.keyturnDone = () => { if (document.body.dataset.verdict === undefined) done('passed') }`
  return `<!doctype html><meta charset="utf-8"><body><script>${prelude}</script>
<script type="module">${code.replaceAll('</script', '<\\/script')}
globalThis.keyturnDone()</script></body>`
}

/** Runs code in a browser and returns the page's result. A browser that ends without a result is started once more. */
function runInBrowser(program: string, code: string): string {
  return verdictOf(program, code) ?? verdictOf(program, code) ?? 'the page never came to its end'
}

/** The result that the page shows: `passed`, what failed, or nothing at all. */
function verdictOf(program: string, code: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-browser-'))
  try {
    const file = join(folder, 'page.html')
    writeFileSync(file, page(code))
    const args = [...FLAGS, `--user-data-dir=${join(folder, 'profile')}`, `file://${file}`]
    const { stdout } = spawnSync(program, args, { encoding: 'utf8', timeout: TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 })
    return /data-verdict="([^"]*)"/.exec(stdout ?? '')?.[1]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The package's entry point, and each example that needs nothing else. */
function entries({ path, manifest }: Member): { name: string; code: string }[] {
  const face =
    `import * as face from '${manifest.name}'\nif (Object.keys(face).length === 0) throw ` +
    `new Error('nothing is exported')\n`
  const examples = sourceFiles(join(path, 'examples'))
    .map((name) => ({ name: `examples/${name}`, code: readFileSync(join(path, 'examples', name), 'utf8') }))
    .filter(({ code }) => !/from '(?:node:|[^']*\/(?:node|sqlite|postgres|dht|keychain)')/.test(code))
  return [{ name: 'the core', code: face }, ...examples]
}

if (CHROMIUM === undefined) {
  console.info('skipped: there is no Chromium on this machine')
  process.exit(0)
}
const findings: string[] = []
let count = 0
for (const member of members().filter(({ group, folder }) => group === 'packages' && !NODE_PACKAGES.includes(folder))) {
  for (const { name, code } of entries(member)) {
    count++
    // Inside the package, so that the bundler resolves the package as it would for a user.
    const entry = join(member.path, `.browser-${process.pid}-${count}.ts`)
    writeFileSync(entry, code)
    try {
      const verdict = runInBrowser(CHROMIUM, await bundle(entry))
      if (verdict !== 'passed') findings.push(`${member.folder}: ${name}: ${verdict}`)
    } catch (error) {
      findings.push(
        `${member.folder}: ${name} does not bundle: ${error instanceof Error ? error.message : String(error)}`,
      )
    } finally {
      rmSync(entry, { force: true })
    }
  }
}
report(`browser (${count})`, findings)
