import { parseSignatures } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { openHome } from '../publisher/home-session.ts'
import { signRelease } from '../publisher/sign-release.ts'
import { findRelease } from '../publisher/store.ts'
import { channelOf, collect, type ChannelOption } from './release-options.ts'

interface SignOptions extends ChannelOption {
  readonly key?: readonly string[]
}

/** Registers `keyturn release sign`. */
export function registerSign(release: Command, cli: Cli): void {
  const sign = release
    .command('sign')
    .description('sign the literal bytes of a manifest with release keys of the home; signatures that are there stay')
    .argument('[version]', 'which release (default: the newest)')
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option('--key <alias>', 'sign with this key; may be given several times (default: the release key in force)', collect)
  cli.define<SignOptions>(sign, { example: 'keyturn release sign', run: (context, options, [version]) => runSign(context, options, version) })
}

async function runSign(context: Context, options: SignOptions, version: string | undefined): Promise<CommandResult> {
  const home = await openHome(context, { write: true })
  const release = await findRelease(home.paths, channelOf(options, home.description), version)
  const signed = await signRelease(home, release, options.key)
  const keys = parseSignatures(signed.signatures as Uint8Array).signatures.map(({ keyid }) => keyid)
  return {
    data: { version: signed.manifest.version, manifest_sha256: signed.sha256, signed_by: keys },
    text: `Release ${signed.manifest.version} is signed by ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`,
  }
}
