import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSignatures } from '@keyturn/manifest'
import { readSigningKeyFile } from '@keyturn/m2pack-format/node'
import { ed25519Sign, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { collect } from '../../flags/values.ts'
import { findRelease, releaseFiles, rolesInForce } from '@keyturn/publisher/records'
import { addSignatures, checkRolesLast, refuseForeignArchives, signRelease } from '@keyturn/publisher/release'
import type { StoredRelease } from '@keyturn/publisher/records'
import { openToRelease } from '@keyturn/publisher/ship'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface SignOptions extends ChannelOption {
  readonly key?: readonly string[] | undefined
  readonly legacyKeyFile?: string | undefined
  readonly addSignatures?: string | undefined
}

/** Registers `keyturn release sign`. */
export function registerSign(release: Command, cli: Cli): void {
  const sign = release
    .command('sign')
    .description('sign the literal bytes of a manifest with release keys of the home; signatures that are there stay')
    .argument('[version]', 'which release (default: the newest)')
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option(
      '--key <alias>',
      'sign with this key; may be given several times (default: the release key in force)',
      collect,
    )
    .option(
      '--legacy-key-file <file>',
      'also write manifest.json.sig for the original launcher, with its Ed25519 key (raw, hex or base64)',
    )
    .option('--add-signatures <file>', 'take the signatures of others from a file that came back; signs nothing itself')
  cli.define<SignOptions>(sign, {
    example: [
      'keyturn release sign',
      'keyturn release sign 1.4.2 --add-signatures back/manifest.sigs.json',
      'keyturn release sign --legacy-key-file old-signing.key',
    ],
    run: (context, options, [version]) => runSign(context, options, version),
  })
}

/** The original's signature: 64 raw bytes over the literal manifest. It counts for launchers with pinned keys only. */
async function signLegacy(context: Context, release: StoredRelease, file: string): Promise<void> {
  if (process.platform !== 'win32' && ((await stat(file)).mode & 0o077) !== 0) {
    context.out.warn(`"${file}" can be read by others: chmod 600`)
  }
  const seed = await readSigningKeyFile(file)
  try {
    await writeFileAtomic(join(release.folder, releaseFiles.legacySignature), ed25519Sign(seed, release.bytes))
  } finally {
    wipe(seed)
  }
}

async function runSign(context: Context, options: SignOptions, version: string | undefined): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const release = await findRelease(home.paths, channelOf(options, home.description), version)
  checkRolesLast((await rolesInForce(home.paths, home.description.identity.prefix)).document, context.clock())
  await refuseForeignArchives(home, release)
  const signed =
    options.addSignatures === undefined
      ? await signRelease(home, release, options.key)
      : await addSignatures(home, release, await readFile(options.addSignatures))
  if (options.legacyKeyFile !== undefined) await signLegacy(context, release, options.legacyKeyFile)
  const keys = parseSignatures(signed.signatures as Uint8Array).signatures.map(({ keyid }) => keyid)
  return {
    data: {
      version: signed.manifest.version,
      manifest_sha256: signed.sha256,
      signed_by: keys,
      legacy: options.legacyKeyFile !== undefined,
    },
    text: `Release ${signed.manifest.version} is signed by ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`,
  }
}
