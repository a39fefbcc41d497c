/**
 * Releases: `pnpm release --dry-run --address https://host/owner/name --folder FOLDER` does everything but the upload,
 * in a clone of the last commit. `--cut-version` and `--artifacts FOLDER` are its two steps, in this checkout.
 * `--announce` comes after the upload: documents stop saying that the packages are not on npm.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../checks/workspace.ts'
import { announce } from './announce.ts'
import { writeArtifacts } from './artifacts.ts'
import { cutVersion } from './cut-version.ts'
import { run } from './run.ts'

const USAGE = `Usage: pnpm release --dry-run --address https://host/owner/name --folder FOLDER
       pnpm release --cut-version
       pnpm release --artifacts FOLDER
       pnpm release --announce
The upload itself is done by the release workflow, after a tag "publish-*" (CONTRIBUTING.md).`

function fail(message: string): never {
  console.error(message)
  process.exit(2)
}

/** A new folder of the caller: relative to where they called, and never one with files in it. */
function newFolder(name: string): string {
  const folder = resolve(process.env['INIT_CWD'] ?? process.cwd(), name)
  if (existsSync(folder)) fail(`Cannot write into ${folder}: it exists already; name a new folder`)
  return folder
}

function dryRun(address: string, folder: string): void {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-dry-run-'))
  const clone = join(work, 'checkout')
  const step = (what: string, ...command: readonly [string, ...string[]]): void => {
    const started = performance.now()
    const output = run(clone, ...command)
    console.log(`── ${what} (${((performance.now() - started) / 1000).toFixed(0)} s)`)
    if (what.startsWith('artifacts') || what.startsWith('version')) console.log(output.trimEnd())
  }
  try {
    if (run(root, 'git', 'status', '--porcelain').trim() !== '')
      console.log('This checkout has changes that are not committed; they are not part of the dry run')
    run(work, 'git', 'clone', '--quiet', '--shared', root, clone)
    step('install', 'pnpm', 'install', '--frozen-lockfile', '--prefer-offline')
    step('version', 'node', 'tooling/release/release.ts', '--cut-version')
    step('address of the sources', 'node', 'tooling/pack/set-repository.ts', address)
    step('build', 'turbo', 'run', 'build', '--concurrency=2')
    step('artifacts', 'node', 'tooling/release/release.ts', '--artifacts', folder)
    run(clone, 'git', 'add', '--all')
    run(clone, 'git', 'diff', '--cached', `--output=${join(folder, 'version.diff')}`)
    console.log(`\nDry run: nothing was uploaded and nothing here was changed. The files are in ${folder};`)
    console.log('version.diff shows what --cut-version would change, the changelogs among it.')
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    'cut-version': { type: 'boolean', default: false },
    address: { type: 'string' },
    folder: { type: 'string' },
    artifacts: { type: 'string' },
    announce: { type: 'boolean', default: false },
  },
})
const modes = [values['dry-run'], values['cut-version'], values.announce, values.artifacts !== undefined].filter(
  Boolean,
)
if (modes.length !== 1) fail(USAGE)
if (values['dry-run']) {
  if (values.address === undefined || !URL.canParse(values.address) || values.folder === undefined) fail(USAGE)
  dryRun(values.address, newFolder(values.folder))
} else if (values.announce) {
  for (const file of announce()) console.log(file)
} else if (values.artifacts === undefined) {
  for (const { name, version } of cutVersion()) console.log(`${name} ${version}`)
} else {
  for (const { path, bytes, sha256 } of writeArtifacts(newFolder(values.artifacts)))
    console.log(`${sha256.slice(0, 16)}…  ${(bytes / 1e6).toFixed(3).padStart(8)} MB  ${path}`)
}
