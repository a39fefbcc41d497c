/**
 * `node tooling/bench/compare.ts [--only NAME] [--write] [--home FOLDER]`: each package and what a team would take in
 * its place, installed from npm as a user has them, measured in turns in the same run. `--write` puts the tables into
 * docs/compare. A peer that cannot be installed, or a program that is not on the path, is named as not run.
 * `--home` keeps the installed packages for the next run.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { members, root } from '../checks/workspace.ts'
import { writeLoneHome } from '../pack/lone-home.ts'
import { packMember } from '../pack/pack-member.ts'

/** What is measured beside a package: columns of its table, in their order. */
interface Comparison {
  readonly columns: readonly string[]
  /** Packages of npm, with the versions that the pages speak of. */
  readonly peers: Readonly<Record<string, string>>
  /** What the programs need besides. */
  readonly helpers?: Readonly<Record<string, string>>
  /** What a program imports, for its cost: `node` only, or in a browser too. */
  readonly imports: Readonly<Record<string, { readonly code: string; readonly browser?: boolean }>>
  /** Programs that are not from npm, and the Debian package of each. */
  readonly programs?: Readonly<Record<string, string>>
}

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  'm2pack-format': {
    columns: ['m2pack-format', 'asar', 'zip', '7z, AES', 'tar.zst'],
    peers: { '@electron/asar': '4.3.2', yazl: '3.3.1', yauzl: '3.4.0', '7zip-bin': '5.2.0' },
    imports: {
      'm2pack-format': { code: "import { openArchive } from '@keyturn/m2pack-format'", browser: true },
      asar: { code: "import { extractFile } from '@electron/asar'" },
      zip: { code: "import yauzl from 'yauzl'" },
    },
    programs: { tar: 'tar', zstd: 'zstd' },
  },
  manifest: {
    columns: ['manifest', 'tuf-js', 'minisign'],
    peers: { 'tuf-js': '6.0.2' },
    helpers: { '@tufjs/models': '5.0.2' },
    imports: {
      manifest: { code: "import { verifyDownload } from '@keyturn/manifest'", browser: true },
      'tuf-js': { code: "import { Updater } from 'tuf-js'" },
    },
    programs: { minisign: 'minisign' },
  },
  kel: {
    columns: ['kel', 'signify-ts'],
    peers: { 'signify-ts': '0.3.0' },
    imports: {
      kel: { code: "import { verifyLog } from '@keyturn/kel'", browser: true },
      'signify-ts': { code: "import { incept } from 'signify-ts'", browser: true },
    },
  },
  'runtime-key': {
    columns: ['env', 'fd', 'shared-memory', 'a variable', 'a file', "Node's channel"],
    peers: {},
    imports: {},
  },
  'noise-keys': {
    columns: ['noise-keys', 'noise-handshake', 'secret-stream', 'libp2p-noise'],
    peers: {
      'noise-handshake': '4.2.0',
      '@hyperswarm/secret-stream': '6.9.2',
      '@chainsafe/libp2p-noise': '17.0.0',
    },
    helpers: {
      streamx: '*',
      '@libp2p/crypto': '5.1.23',
      '@libp2p/interface': '3.3.0',
      '@libp2p/logger': '6.2.13',
      '@libp2p/peer-id': '6.0.15',
      '@libp2p/utils': '7.4.1',
    },
    imports: {
      'noise-keys': { code: "import { NoiseSession, HandshakeState } from '@keyturn/noise-keys/noise'", browser: true },
      'noise-handshake': { code: "import Noise from 'noise-handshake'" },
      'secret-stream': { code: "import SecretStream from '@hyperswarm/secret-stream'" },
      'libp2p-noise': { code: "import { noise } from '@chainsafe/libp2p-noise'", browser: true },
    },
  },
  'vault-kdf': {
    columns: ['vault-kdf', 'AWS Encryption SDK', 'the same, unsigned', 'Cloak'],
    peers: { '@aws-crypto/client-node': '5.0.2', '@47ng/cloak': '1.2.0' },
    imports: {
      'vault-kdf': { code: "import { Vault } from '@keyturn/vault-kdf'" },
      'AWS Encryption SDK': { code: "import { buildClient } from '@aws-crypto/client-node'" },
      Cloak: { code: "import { encryptString } from '@47ng/cloak'" },
    },
  },
  keystore: {
    columns: [
      'keystore, random secret',
      'keystore, passphrase',
      'conf, encryptionKey',
      'age-encryption, key',
      'age-encryption, passphrase',
      'age (Go), key',
    ],
    peers: { conf: '16.0.0', 'age-encryption': '0.3.1' },
    imports: {},
    programs: { age: 'age' },
  },
}

const BEGIN = '<!-- figures -->'
const END = '<!-- /figures -->'

interface Row {
  readonly operation: string
  readonly figures: Readonly<Record<string, string>>
}

function installs(home: string): boolean {
  const options = { cwd: home, encoding: 'utf8' } as const
  const { status, stdout } = spawnSync('pnpm', ['install', '--prefer-offline', '--ignore-scripts'], options)
  if (status !== 0) console.error(stdout.split('\n').slice(-8).join('\n'))
  return status === 0
}

/** Installs packages and peers; those that cannot be installed are left out. */
function prepare(home: string, peers: Readonly<Record<string, string>>): void {
  mkdirSync(join(home, 'tarballs'), { recursive: true })
  const packages = members().filter(({ group }) => group === 'packages')
  const tarballs = new Map(packages.map((one) => [one.manifest.name, packMember(one, join(home, 'tarballs'))]))
  const names = [...tarballs.keys()]
  writeLoneHome(home, tarballs, names, { ...peers, esbuild: '0.28.2' })
  if (installs(home)) return
  const found: Record<string, string> = {}
  for (const [name, version] of Object.entries({ esbuild: '0.28.2', ...peers })) {
    writeLoneHome(home, tarballs, names, { ...found, [name]: version })
    if (installs(home)) found[name] = version
    else console.error(`${name}: not installed`)
  }
  writeLoneHome(home, tarballs, names, found)
  installs(home)
}

function copyPrograms(home: string): void {
  cpSync(join(root, 'tooling/bench/compare'), home, { recursive: true })
  const example = readFileSync(join(root, 'examples/libp2p-noise.ts'), 'utf8')
  writeFileSync(join(home, 'libp2p-noise.mjs'), stripTypeScriptTypes(example))
}

function rowsOf(home: string, program: string, ...args: readonly string[]): Row[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { cwd: home, encoding: 'utf8' })
  if (stderr !== '') console.error(stderr)
  if (status !== 0) throw new Error(`${program} failed`)
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Row)
}

/** The version that was measured, in the words of the page. */
function versionsOf(home: string, { peers, programs = {} }: Comparison): string {
  const ofPeers = Object.keys(peers).map((name) => {
    const file = join(home, 'node_modules', name, 'package.json')
    if (!existsSync(file)) return `${name} was not run: it could not be installed`
    return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`
  })
  const ofPrograms = Object.entries(programs).map(([name, debian]) => {
    const found = spawnSync('sh', ['-c', `command -v ${name}`]).status === 0
    return found ? `${name} of Debian` : `${name} was not run: it is not installed (Debian: ${debian})`
  })
  return [...ofPeers, ...ofPrograms].join(', ')
}

function table(comparison: Comparison, rows: readonly Row[], home: string): string {
  const { columns } = comparison
  const lines = rows.map(({ operation, figures }) =>
    ['', operation, ...columns.map((column) => figures[column] ?? '–'), ''].join(' | ').trim(),
  )
  const head = ['', '', ...columns, ''].join(' | ').trim()
  const cpu = cpus()[0]?.model.trim() ?? 'an unknown processor'
  const versions = versionsOf(home, comparison)
  return [
    head,
    `|${'---|'.repeat(columns.length + 1)}`,
    ...lines,
    '',
    `Node ${process.versions.node}, ${cpu}, ${cpus().length} cores, load ${(loadavg()[0] ?? 0).toFixed(0)}; ` +
      'processor time, medians, all of a row in turns.' +
      `${versions === '' ? '' : ` ${versions}.`} "–": it does not do that, or was not run.`,
  ].join('\n')
}

function writeTable(name: string, text: string): void {
  const file = join(root, 'docs/compare', `${name}.md`)
  const page = readFileSync(file, 'utf8')
  const [before, rest] = page.split(`${BEGIN}\n`)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined) throw new Error(`${file} has no place for figures`)
  writeFileSync(file, `${before}${BEGIN}\n\n${text}\n\n${END}${after}`)
}

const { values } = parseArgs({
  options: { only: { type: 'string' }, write: { type: 'boolean', default: false }, home: { type: 'string' } },
})
const chosen = Object.entries(COMPARISONS).filter(([name]) => values.only === undefined || name === values.only)
const home = resolve(values.home ?? mkdtempSync(join(tmpdir(), 'keyturn-compare-')))
try {
  if (!existsSync(join(home, 'node_modules'))) {
    const needed = Object.values(COMPARISONS).map(({ peers, helpers = {} }) => ({ ...peers, ...helpers }))
    prepare(home, Object.assign({}, ...needed) as Record<string, string>)
  }
  copyPrograms(home)
  for (const [name, comparison] of chosen) {
    const imports = Object.entries(comparison.imports)
    const weights = imports.length === 0 ? [] : rowsOf(home, 'weight.mjs', JSON.stringify(imports))
    const text = table(comparison, [...rowsOf(home, `${name}.mjs`), ...weights], home)
    console.log(`\n## ${name}\n\n${text}`)
    if (values.write) writeTable(name, text)
  }
} finally {
  if (values.home === undefined) rmSync(home, { recursive: true, force: true })
}
