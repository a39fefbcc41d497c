import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { formatBytes, printable } from '@keyturn/primitives'
import { isMissing, writeFileAtomic } from '@keyturn/primitives/node'
import { openHome } from '@keyturn/publisher'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { releaseFiles } from '@keyturn/publisher/records'
import { compareTree, cosign, readForeignRelease } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted, formatTable } from '../../output.ts'

interface CosignOptions {
  readonly signatures?: string | undefined
  readonly tree?: string | undefined
  readonly sha256?: string | undefined
  readonly key?: string | undefined
}

/** Registers `keyturn release cosign`. */
export function registerCosign(release: Command, cli: Cli): void {
  const command = release
    .command('cosign')
    .description('sign a release that another home prepared, as its second person; nothing is published')
    .argument('<manifest>', 'manifest.json of that release, or its folder')
    .option('--signatures <file>', `file that gets the signature (default: ${releaseFiles.signatures} beside it)`)
    .option('--tree <folder>', 'compare this folder with the manifest first')
    .option('--sha256 <hash>', 'refuse any other manifest than this one')
    .option('--key <alias>', 'sign with this key (default: the release key of this home)')
  cli.define<CosignOptions>(command, {
    example: 'keyturn release cosign from-alex/manifest.json --sha256 4f0c…',
    dryRun: true,
    run: (context, options, [manifest]) => runCosign(context, options, manifest as string),
  })
}

async function readOptional(path: string): Promise<Uint8Array | undefined> {
  return await readFile(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
}

async function runCosign(context: Context, options: CosignOptions, given: string): Promise<CommandResult> {
  const file = basename(given) === releaseFiles.manifest ? resolve(given) : join(resolve(given), releaseFiles.manifest)
  const bytes = await readFile(file)
  const target = resolve(options.signatures ?? join(dirname(file), releaseFiles.signatures))
  const before = await readOptional(target)
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  const home = await openHome(context)
  const { manifest, sha256, signedBy } = readForeignRelease(bytes, before, home.description.product)
  if (options.sha256 !== undefined && options.sha256 !== sha256)
    throw new CliError('CLI_USAGE', `The manifest has SHA-256 ${sha256}, expected ${printable(options.sha256, 64)}`)
  if (options.tree !== undefined) await compareTree(resolve(options.tree), manifest, context.signal)
  const { version, channel = '', sequence, previous, files, totals } = manifest
  const facts = formatTable([
    ['release', `${version} on ${channel}, sequence ${sequence ?? 0}, after ${previous ?? 'none'}`],
    ['files', `${counted(files.length, 'file')}, ${formatBytes(totals?.bytes ?? 0)}`],
    ['manifest', sha256],
    ['signed by', signedBy.length === 0 ? 'nobody yet' : signedBy.join(', ')],
  ])
  const data = { version, channel, sequence, manifest_sha256: sha256 }
  if (context.dryRun) return { data: { ...data, signed_by: [...signedBy] }, text: facts }
  context.onStep('cosign-summary', facts)
  await context.ask.confirm(`Sign release ${version} for channel "${channel}"?`)
  const { signatures, key } = await cosign(home, { bytes, signatures: before }, options.key)
  await writeFileAtomic(target, signatures)
  return {
    data: { ...data, signatures: target, key, signed_by: [...new Set([...signedBy, key])] },
    text:
      `Signed ${version} with key ${key}\n` +
      `Next: give ${target} back; there, run "keyturn release sign ${version} --add-signatures FILE"`,
  }
}
