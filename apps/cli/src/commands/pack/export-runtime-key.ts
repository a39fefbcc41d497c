import { readContentKeyFile } from '@keyturn/m2pack-format/node'
import { hexDecode, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { activeContentKey, keyAlias, openHome } from '@keyturn/publisher'
import { RuntimeKey, writeRuntimeKeyBlob, writeRuntimeKeyJson } from '@keyturn/runtime-key'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { keyIdFlag } from './flags.ts'
import { readShippedPublicKey } from './shipped-public-key.ts'

interface RuntimeKeyFlags {
  readonly key?: string | undefined
  readonly publicKey?: string | undefined
  readonly keyId?: string | undefined
  readonly format: string
  readonly compat: string
  readonly output: string
  readonly force?: boolean | undefined
}

/** Registers `export-runtime-key`. */
export function registerExportRuntimeKey(parent: Command, cli: Cli): void {
  const command = parent
    .command('export-runtime-key')
    .description('write the runtime key of a release: runtime-key.json or the 84-byte blob')
    .option('--key <file>', 'content key, master.key (default: that of the home)')
    .option('--public-key <file>', 'public key of the archives, signing.pub; with --key')
    .requiredOption('--output <file>', 'file to write, mode 0600')
    .option('--key-id <n>', 'number of the content key (default: 1, or the one in force in the home)')
    .option('--format <json|blob>', 'JSON, or the blob of shared memory and pipes', 'json')
    .option(
      '--compat <superset|original>',
      'JSON every launcher reads, or the exact shape of the original packer',
      'superset',
    )
    .option('--force', 'replace an existing file')
  cli.define<RuntimeKeyFlags>(command, {
    example: [
      'keyturn pack export-runtime-key --output runtime-key.json',
      'keyturn pack export-runtime-key --key keys/master.key --public-key keys/signing.pub --key-id 1 --output ' +
        'runtime-key.json',
    ],
    run: runRuntimeKey,
  })
}

/** From the files that the flags name, else from the home. */
async function runtimeKeyOf(context: Context, { key, publicKey, keyId }: RuntimeKeyFlags): Promise<RuntimeKey> {
  if (key !== undefined && publicKey !== undefined)
    return RuntimeKey.take({
      keyId: keyIdFlag(keyId ?? '1'),
      masterKey: await readContentKeyFile(key),
      signPublicKey: await readShippedPublicKey(publicKey),
    })
  if (key !== undefined || publicKey !== undefined)
    throw new CliError('CLI_USAGE', '--key and --public-key go together; without both the home is used')
  const home = await openHome(context)
  const wanted = keyId === undefined ? activeContentKey(home.description).keyId : keyIdFlag(keyId)
  const known = home.description.contentKeys.find((one) => one.keyId === wanted)
  if (known === undefined)
    throw new CliError('CLI_USAGE', `The home has no content key ${wanted}`, { hint: 'Run "keyturn status"' })
  return await (
    await home.keys()
  ).lend(keyAlias.content(wanted), (secret) =>
    RuntimeKey.take({ keyId: wanted, masterKey: secret.slice(), signPublicKey: hexDecode(known.verifierPub) }),
  )
}

async function runRuntimeKey(context: Context, flags: RuntimeKeyFlags): Promise<CommandResult> {
  const { format, compat } = flags
  if (format !== 'json' && format !== 'blob')
    throw new CliError('CLI_USAGE', `--format wants json or blob, not "${format}"`)
  if (compat !== 'superset' && compat !== 'original')
    throw new CliError('CLI_USAGE', `--compat wants superset or original, not "${compat}"`)
  const runtimeKey = await runtimeKeyOf(context, flags)
  context.defer(() => runtimeKey.dispose())
  const bytes = format === 'blob' ? writeRuntimeKeyBlob(runtimeKey) : writeRuntimeKeyJson(runtimeKey, { compat })
  context.defer(() => wipe(bytes))
  await writeFileAtomic(flags.output, bytes, { mode: 0o600, overwrite: flags.force === true })
  return {
    data: { output: flags.output, format, key_id: runtimeKey.keyId },
    text: `${flags.output}: runtime key of key_id ${runtimeKey.keyId}; keep it as secret as the content key`,
  }
}
