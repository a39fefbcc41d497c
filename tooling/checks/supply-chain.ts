/**
 * Checks everything that users of the packages install: licenses, install scripts, and a decision for each direct
 * dependency.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, report, root } from './workspace.ts'

/** Licenses that are compatible with Apache-2.0 in a program that is distributed. */
const LICENCES = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Unlicense',
  '(MIT OR Apache-2.0)',
  'MIT OR Apache-2.0',
  'Apache-2.0 OR MIT',
  '(MIT OR CC0-1.0)',
  'Python-2.0',
])
/** Chosen when the project began, so they need no decision of their own. */
const NAMED = new Set(['@noble/ciphers', '@noble/curves', '@noble/hashes', 'commander', 'fastify'])
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall']

interface Licensed {
  readonly name: string
  readonly versions: readonly string[]
  readonly paths: readonly string[]
}

interface Manifest {
  readonly scripts?: Readonly<Record<string, string>>
}

const { stdout, status } = spawnSync('pnpm', ['licenses', 'list', '--prod', '--recursive', '--json'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
})
const findings: string[] = status === 0 ? [] : ['pnpm could not list the licenses']
const byLicence = status === 0 ? (JSON.parse(stdout) as Record<string, Licensed[]>) : {}
let count = 0
for (const [licence, packages] of Object.entries(byLicence)) {
  for (const { name, versions, paths } of packages) {
    count++
    if (!LICENCES.has(licence))
      findings.push(`${name} ${versions.join(', ')} has the license ${licence}, which is not on the list`)
    for (const path of paths) {
      const { scripts = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest
      // node-gyp-build and similar scripts only look for a binary that is already in the package; pnpm runs none of
      // them here.
      const script = INSTALL_SCRIPTS.find((key) => key in scripts)
      if (script !== undefined) findings.push(`${name} wants to run "${scripts[script]}" at ${script}`)
    }
  }
}

const decisions = readdirSync(join(root, 'docs/decisions'))
  .map((name) => readFileSync(join(root, 'docs/decisions', name), 'utf8'))
  .join('\n')
for (const { folder, manifest } of members()) {
  for (const name of Object.keys({
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
  })) {
    if (name.startsWith('@keyturn/') || NAMED.has(name)) continue
    if (!decisions.includes(name)) findings.push(`${folder} depends on ${name}, for which docs/decisions has no line`)
  }
}

interface BillOfMaterials {
  readonly components?: readonly {
    readonly group?: string
    readonly name: string
    readonly licenses?: readonly unknown[]
  }[]
}

const bill = spawnSync('pnpm', ['sbom', '--prod', '--sbom-format', 'cyclonedx'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
})
const components = bill.status === 0 ? ((JSON.parse(bill.stdout) as BillOfMaterials).components ?? []) : []
const billed = new Set(
  components.map(({ group, name }) => (group === undefined || name.startsWith('@') ? name : `${group}/${name}`)),
)
for (const { folder, manifest } of members()) {
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    if (!name.startsWith('@keyturn/') && !billed.has(name))
      findings.push(`the bill of materials (pnpm sbom) lacks ${name}, which ${folder} depends on`)
  }
}
report(`supply chain (${count} packages)`, findings)
