/**
 * Bundles each entry point of each package, and single functions, with all they need, and checks sizes against budgets;
 * `--write` sets new budgets. What players download has fixed ones.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'
import { playerSizes } from './player-sizes.ts'
import { members, NODE_PACKAGES, report, root } from './workspace.ts'
import type { Member } from './workspace.ts'

const BUDGETS = join(root, 'tooling/checks/sizes.json')
/** Room for growth in a budget. Growing more is a decision: run with `--write` and say why in the commit. */
const ROOM = 1.1
const GRAIN_BYTES = 100

/** Functions that people use alone: anything else in their bundle is waste. */
const FUNCTIONS: readonly (readonly [specifier: string, name: string])[] = [
  ['@keyturn/primitives', 'sha256'],
  ['@keyturn/primitives', 'openXChaCha20Poly1305'],
  ['@keyturn/primitives', 'ed25519Verify'],
  ['@keyturn/primitives', 'parseStrictJson'],
  ['@keyturn/kel', 'verifyLog'],
  ['@keyturn/m2pack-format', 'openArchive'],
  ['@keyturn/manifest', 'verifyRelease'],
]

interface Entry {
  readonly specifier: string
  /** The one name that is bundled; all of them when absent. */
  readonly only?: string
  readonly path: string
  /** Entries that run in a browser are bundled for one; the others for Node. */
  readonly platform: 'browser' | 'node'
}

function entries({ folder, path, manifest }: Member): Entry[] {
  return Object.entries(manifest.exports ?? {}).flatMap(([subpath, target]): Entry[] => {
    if (typeof target === 'string') return []
    const needsNode = NODE_PACKAGES.includes(folder) || /\/(?:node|sqlite|postgres|dht|testing)$/.test(subpath)
    return [{ specifier: manifest.name + subpath.slice(1), path, platform: needsNode ? 'node' : 'browser' }]
  })
}

function functionsOf(member: Member): Entry[] {
  const { path, manifest } = member
  return FUNCTIONS.filter(([specifier]) => specifier === manifest.name).map(([specifier, only]) => ({
    specifier,
    only,
    path,
    platform: 'browser',
  }))
}

function nameOf({ specifier, only }: Entry): string {
  return only === undefined ? specifier : `${only} of ${specifier}`
}

/** Bytes of everything the entry needs, minified and compressed; what comes with Node or is optional stays outside. */
async function sizeOf({ specifier, only, path, platform }: Entry): Promise<number> {
  const file = join(path, `.size-${process.pid}.ts`)
  writeFileSync(file, `export ${only === undefined ? '*' : `{ ${only} }`} from '${specifier}'\n`)
  try {
    const build = await rolldown({
      input: file,
      platform,
      logLevel: 'silent',
      external: [/^node:/, 'sodium-native', 'koffi', '@napi-rs/keyring', 'bittorrent-dht'],
      resolve: {
        conditionNames: platform === 'browser' ? ['import', 'browser', 'default'] : ['import', 'node', 'default'],
      },
    })
    try {
      const { output } = await build.generate({ format: 'esm', codeSplitting: false, minify: true })
      return gzipSync(output[0].code, { level: 9 }).length
    } finally {
      await build.close()
    }
  } finally {
    rmSync(file, { force: true })
  }
}

const all = members()
  .filter(({ group }) => group === 'packages')
  .flatMap((member) => [...entries(member), ...functionsOf(member)])
const sizes: [string, number][] = []
for (const entry of all) sizes.push([nameOf(entry), await sizeOf(entry)])

if (process.argv.includes('--write')) {
  const budgets = Object.fromEntries(
    sizes.map(([specifier, size]) => [specifier, Math.ceil((size * ROOM) / GRAIN_BYTES) * GRAIN_BYTES]),
  )
  writeFileSync(BUDGETS, `${JSON.stringify(budgets, null, 2)}\n`)
}
const budgets = JSON.parse(readFileSync(BUDGETS, 'utf8')) as Readonly<Record<string, number>>
const findings: string[] = []
for (const [specifier, size] of sizes) {
  const budget = budgets[specifier]
  console.log(`  ${specifier.padEnd(44)} ${String(size).padStart(7)} of ${budget ?? 'no budget'}`)
  if (budget === undefined) findings.push(`${specifier} has no budget in tooling/checks/sizes.json`)
  else if (size > budget)
    findings.push(`${specifier} has ${size} bytes, bundled and compressed; its budget is ${budget}`)
}
for (const specifier of Object.keys(budgets)) {
  if (!sizes.some(([name]) => name === specifier))
    findings.push(`tooling/checks/sizes.json has a budget for ${specifier}, which is not an entry point`)
}
const player = await playerSizes()
for (const { name, bytes, budget } of player) {
  console.log(`  ${name.padEnd(44)} ${String(bytes).padStart(9)} of ${budget}`)
  if (bytes > budget) findings.push(`${name} has ${bytes} bytes; its budget is ${budget}`)
}
report(`sizes (${sizes.length + player.length})`, findings)
