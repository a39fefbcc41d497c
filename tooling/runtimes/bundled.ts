import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { parseOutcomes } from './outcome.ts'
import type { Outcome } from './outcome.ts'
import { installed, programsOf } from './runtimes.ts'
import type { Runtime } from './runtimes.ts'

/** For a runtime that hangs; long enough for a busy machine. */
export const TIMEOUT_MS = 600_000
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
}

function run(home: string, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: home, encoding: 'utf8', timeout: TIMEOUT_MS })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return `${stdout}${stderr}`
}

/** As the README says: other bundlers than Vite do not copy the file, and workerd takes a compiled module only. */
const ZSTD: Readonly<Partial<Record<Runtime['kind'], string>>> = {
  esbuild: `export const zstd = { url: '/zstd.wasm' }`,
  workerd: `import module from './zstd.wasm'\nexport const zstd = { module }`,
}

function copyZstd(home: string, folder: string): void {
  cpSync(join(installed(home, '@bokuweb/zstd-wasm'), 'dist/web/zstd.wasm'), join(folder, 'zstd.wasm'))
}

function writeEntry(home: string, runtime: Runtime, print: string, around: (call: string) => string): string {
  const list = programsOf(runtime).map((name) => `['${name}', () => import('./${name}.mjs')]`)
  const call = `runPrograms([${list.join(', ')}], ${print})`
  const name = `entry-${runtime.kind}.mjs`
  writeFileSync(join(home, 'zstd.mjs'), `${ZSTD[runtime.kind] ?? 'export const zstd = undefined'}\n`)
  writeFileSync(join(home, name), `import { runPrograms } from './harness.mjs'\n${around(call)}\n`)
  return name
}

function bundleWithEsbuild(home: string, entry: string, target: string): void {
  const flags = ['--bundle', '--format=esm', '--platform=browser', '--log-level=error', '--external:*.wasm']
  run(home, process.execPath, installed(home, 'esbuild/bin/esbuild'), entry, ...flags, `--outfile=${target}`)
}

/** Runs the programs as a worker of workerd, without its imitation of Node. */
export function runInWorkerd(home: string, runtime: Runtime): Outcome[] {
  const print = `(line) => console.log('OUTCOME ' + JSON.stringify(line))`
  const entry = writeEntry(home, runtime, print, (call) => `export default { test: () => ${call} }`)
  bundleWithEsbuild(home, entry, 'worker.js')
  copyZstd(home, home)
  const modules = '(name = "worker", esModule = embed "worker.js"), (name = "zstd.wasm", wasm = embed "zstd.wasm")'
  const worker = `(modules = [${modules}], compatibilityDate = "2026-11-01")`
  writeFileSync(
    join(home, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = ${worker})]);\n`,
  )
  const [program] = runtime.program
  return parseOutcomes(run(home, installed(home, program), 'test', 'config.capnp'))
}

/** What a browser gets from `folder`, until the page has sent its outcomes. */
async function visit(folder: string): Promise<Outcome[]> {
  const browser = CHROMIUM.find((path) => existsSync(path))
  if (browser === undefined) throw new Error('there is no Chromium on this machine')
  const profile = mkdtempSync(join(tmpdir(), 'keyturn-browser-'))
  const { promise, resolve, reject } = Promise.withResolvers<Outcome[]>()
  const server = createServer(async (request, response) => {
    if (request.method === 'POST') {
      const parts: Uint8Array[] = []
      for await (const part of request) parts.push(part as Uint8Array)
      response.end()
      resolve(JSON.parse(Buffer.concat(parts).toString()) as Outcome[])
      return
    }
    const file = join(folder, new URL(request.url ?? '/', 'http://x').pathname.replace(/\/$/, '/index.html'))
    if (!existsSync(file)) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'text/plain' }).end(readFileSync(file))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking']
  const child = spawn(browser, [...flags, `--user-data-dir=${profile}`, `http://127.0.0.1:${port}/`], {
    stdio: 'ignore',
  })
  const late = setTimeout(() => reject(new Error('the page never came to its end')), TIMEOUT_MS)
  try {
    return await promise
  } finally {
    clearTimeout(late)
    const ended = new Promise((exited) => child.once('exit', exited))
    child.kill()
    await ended
    server.closeAllConnections()
    server.close()
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }
}

/** Bundles the programs as an application would and runs them in headless Chromium. */
export async function runInBrowser(home: string, runtime: Runtime): Promise<Outcome[]> {
  const around = (call: string): string =>
    `const lines = []\n${call}.then(() => fetch('/outcomes', { method: 'POST', body: JSON.stringify(lines) }))`
  const entry = writeEntry(home, runtime, '(line) => lines.push(line)', around)
  const folder = join(home, `site-${runtime.kind}`)
  mkdirSync(folder, { recursive: true })
  const page = (script: string): string => `<!doctype html><script type="module" src="${script}"></script>`
  if (runtime.kind === 'vite') {
    writeFileSync(join(home, 'index.html'), page(`/${entry}`))
    run(home, process.execPath, installed(home, runtime.program[0]), 'build', '--outDir', folder, '--logLevel', 'error')
  } else {
    writeFileSync(join(folder, 'index.html'), page('/bundle.js'))
    bundleWithEsbuild(home, entry, join(folder, 'bundle.js'))
    copyZstd(home, folder)
  }
  return await visit(folder)
}
