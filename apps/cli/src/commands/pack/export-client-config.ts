import { exportClientConfig } from '@keyturn/m2pack-format'
import { readContentKeyFile } from '@keyturn/m2pack-format/node'
import { hexDecode, utf8Encode, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { activeContentKey, readHome } from '@keyturn/publisher'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { keyIdFlag } from './flags.ts'
import { readShippedPublicKey } from './shipped-public-key.ts'

interface ClientConfigFlags {
  readonly key?: string | undefined
  readonly publicKey?: string | undefined
  readonly keyId?: string | undefined
  readonly slot: string[]
  readonly lang: string
  readonly mappingName?: string | undefined
  readonly output: string
  readonly force?: boolean | undefined
}

/** Registers `export-client-config`. */
export function registerExportClientConfig(parent: Command, cli: Cli): void {
  const command = parent
    .command('export-client-config')
    .description('write M2PackKeys.h or a TypeScript module with the public keys; no content key')
    .option('--public-key <file>', 'public key of the archives, signing.pub (default: those of the home)')
    .requiredOption('--output <file>', 'file to write')
    .option('--key-id <n>', "key_id of that public key, and the client's default (default: 1, or the one in force)")
    .option('--slot <id:file>', 'a further verifier as KEY_ID:FILE; may be given again', collect, [])
    .option('--lang <cpp|ts>', 'C++ header or TypeScript module', 'cpp')
    .option('--mapping-name <name>', 'shared memory that a launcher may hand the key over in')
    .option('--key <file>', 'accepted for old scripts; the content key is checked and never written')
    .option('--force', 'replace an existing file')
  cli.define<ClientConfigFlags>(command, {
    example: [
      'keyturn pack export-client-config --output M2PackKeys.h',
      'keyturn pack export-client-config --public-key keys/signing.pub --key-id 2 --slot 1:old/signing.pub ' +
        '--output M2PackKeys.h',
    ],
    run: runClientConfig,
  })
}

async function readSlotFlags(flags: readonly string[]): Promise<[number, Uint8Array][]> {
  const slots: [number, Uint8Array][] = []
  for (const flag of flags) {
    const [, id, file] = /^(\d+):(.+)$/.exec(flag) ?? []
    if (id === undefined || file === undefined)
      throw new CliError('CLI_USAGE', `--slot wants KEY_ID:FILE, not "${flag}"`)
    slots.push([keyIdFlag(id, '--slot'), await readShippedPublicKey(file)])
  }
  return slots
}

/** The verifiers that the client gets, and the key_id it takes where an archive names none. */
interface Verifiers {
  readonly keyId: number
  readonly verifiers: ReadonlyMap<number, Uint8Array>
}

async function verifiersOfFiles(flags: ClientConfigFlags, file: string): Promise<Verifiers> {
  const keyId = keyIdFlag(flags.keyId ?? '1')
  const slots = await readSlotFlags(flags.slot)
  return { keyId, verifiers: new Map([...slots, [keyId, await readShippedPublicKey(file)] as const]) }
}

/** Of every content key of the home that is not revoked: archives under older ones stay readable. */
async function verifiersOfHome(context: Context, flags: ClientConfigFlags): Promise<Verifiers> {
  const description = await readHome(context.homeFolder)
  const keyId = flags.keyId === undefined ? activeContentKey(description).keyId : keyIdFlag(flags.keyId)
  const own = description.contentKeys
    .filter(({ status }) => status !== 'revoked')
    .map((key) => [key.keyId, hexDecode(key.verifierPub)] as const)
  if (!own.some(([known]) => known === keyId))
    throw new CliError('CLI_USAGE', `The home has no content key ${keyId}`, { hint: 'Run "keyturn status"' })
  return { keyId, verifiers: new Map([...own, ...(await readSlotFlags(flags.slot))]) }
}

async function runClientConfig(context: Context, flags: ClientConfigFlags): Promise<CommandResult> {
  if (flags.lang !== 'cpp' && flags.lang !== 'ts')
    throw new CliError('CLI_USAGE', `--lang wants cpp or ts, not "${flags.lang}"`)
  if (flags.key !== undefined) wipe(await readContentKeyFile(flags.key))
  const { keyId, verifiers } =
    flags.publicKey === undefined
      ? await verifiersOfHome(context, flags)
      : await verifiersOfFiles(flags, flags.publicKey)
  const text = exportClientConfig(verifiers, {
    language: flags.lang,
    defaultKeyId: keyId,
    ...(flags.mappingName === undefined ? {} : { mappingName: flags.mappingName }),
  })
  await writeFileAtomic(flags.output, utf8Encode(text), { overwrite: flags.force === true })
  return {
    data: {
      output: flags.output,
      format: flags.lang,
      key_id: keyId,
      key_ids: [...verifiers.keys()].sort((left, right) => left - right),
    },
    text: `${flags.output}: ${verifiers.size} public key(s), default key_id ${keyId}`,
  }
}
