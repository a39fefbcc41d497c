/**
 * Writes docs/features.md: every feature of the systems that Keyturn brings together, and of its own, with the test
 * that shows it. Fails when a test of the list no longer exists.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { report, root } from './workspace.ts'

interface Feature {
  readonly system: string
  readonly what: string
  /** Path of a test from the root. */
  readonly file: string
  /** A part of the test's name. */
  readonly title: string
}

const TARGET = join(root, 'docs/features.md')
const FROM: Readonly<Record<string, string>> = {
  'm2pack-secure': 'The packer: signed, encrypted archives with key ids.',
  'metin-launcher': 'The update client, and the release files it reads.',
  'Pubky Noise keys': 'The guide to rotating and revoking X25519 keys of Noise sessions.',
  HexVault: 'Keys for data at rest, with the design of its rotation.',
  'KERI and auths': 'Identities whose next key is promised in advance, with their commands.',
  Keyturn: 'What none of them has.',
  Stories: 'Told by the real programs, from an empty folder to what a player has on disk.',
}

function readFeatures(): Feature[] {
  return readFileSync(join(root, 'tooling/features/rows.tsv'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [system = '', what = '', file = '', title = ''] = line.split('\t')
      return { system, what, file, title }
    })
}

/** What is wrong with a row, if anything. */
function flaw({ system, what, file, title }: Feature): string | undefined {
  if (!Object.hasOwn(FROM, system)) return `"${what}" belongs to "${system}", which is none of the systems`
  if (title === '') return `"${what}" names no test`
  if (!existsSync(join(root, file))) return `"${what}" is shown by ${file}, which does not exist`
  const names = readFileSync(join(root, file), 'utf8').replaceAll(/\\(['"`\\])/g, '$1')
  return names.includes(title) ? undefined : `"${what}": ${file} has no test named "${title}"`
}

function page(features: readonly Feature[]): string {
  const sections = Object.entries(FROM).map(([system, words]) => {
    const rows = features
      .filter((feature) => feature.system === system)
      .map(({ what, file, title }) => `| ${what} | [${title.replaceAll('|', '\\|')}](../${file}) |`)
    return `## ${system}\n\n${words}\n\n| feature | shown by |\n|---|---|\n${rows.join('\n')}\n`
  })
  return `# Features

Five systems are brought together here: \`m2pack-secure\`, \`metin-launcher\`, the Pubky Noise key guide, HexVault and
KERI identities as \`auths\` does them. Each row is something that they do, or that Keyturn adds, with a test that
shows it. \`node tooling/checks/features.ts --write\` writes this page from \`tooling/features/rows.tsv\`.

${sections.join('\n')}`
}

const features = readFeatures()
const text = page(features)
if (process.argv.includes('--write')) writeFileSync(TARGET, text)
const findings = features.map(flaw).filter((found) => found !== undefined)
if (!existsSync(TARGET) || readFileSync(TARGET, 'utf8') !== text)
  findings.push('docs/features.md is not what the list says; run this check with --write')
report(`features (${features.length})`, findings)
