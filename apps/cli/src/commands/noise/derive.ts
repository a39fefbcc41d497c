import { ed25519PublicKey, hexEncode, wipe } from '@keyturn/primitives'
import { signKeyBinding, transportIdentity } from '@keyturn/noise-keys'
import { deriveTransportSecret, transportPublicKey } from '@keyturn/noise-keys/owner'
import type { DerivationPlace, Generation } from '@keyturn/noise-keys/owner'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { wholeNumber } from '../../flags/values.ts'
import { openTransport } from '@keyturn/publisher/transport'
import { withSeedFile } from './seed.ts'

interface DeriveOptions {
  readonly seedFile?: string | undefined
  readonly context?: string | undefined
  readonly device?: string | undefined
  readonly generation: string
  readonly epoch?: string | undefined
  readonly showSecret?: boolean | undefined
}

const GENERATIONS: readonly Generation[] = ['G2', 'G1', 'G1+', 'G0']

/** Registers `keyturn noise derive`. */
export function registerNoiseDerive(noise: Command, cli: Cli): void {
  const derive = noise
    .command('derive')
    .description('derive a transport key from the seed')
    .option(
      '--seed-file <file>',
      'the Ed25519 seed: 32 bytes, raw, hexadecimal or base64; default: the transport identity of the home',
    )
    .option('--context <text>', 'what it is derived with; default: the device id')
    .option('--device <id>', 'device id the key is bound to', 'default')
    .option('--generation <name>', `one of ${GENERATIONS.join(', ')}`, 'G2')
    .option('--epoch <n>', 'epoch of G1, G1+ and G0; default 0')
    .option('--show-secret', 'print the secret key as well')
  cli.define<DeriveOptions>(derive, {
    example: [
      'keyturn noise derive --seed-file seed.hex --context server-2026-q4 --json',
      'keyturn noise derive --device server-v2',
    ],
    run: runDerive,
  })
}

async function runDerive(context: Context, options: DeriveOptions): Promise<CommandResult> {
  const place = placeOf(options)
  const useSeed = (seed: Uint8Array): CommandResult => deriveAndShow(seed, place, options)
  if (options.seedFile !== undefined) return await withSeedFile(options.seedFile, useSeed)
  return await (await openTransport(context)).withSeed(useSeed)
}

function placeOf(options: DeriveOptions): DerivationPlace & { device: string } {
  const generation = GENERATIONS.find((name) => name === options.generation)
  if (generation === undefined) throw new CliError('CLI_USAGE', `--generation is none of ${GENERATIONS.join(', ')}`)
  if (options.epoch !== undefined && generation === 'G2')
    throw new CliError('CLI_USAGE', '--epoch: generation G2 has none')
  return {
    generation,
    device: options.device ?? 'default',
    context: options.context,
    ...(options.epoch === undefined ? {} : { epoch: wholeNumber(options.epoch, '--epoch', 0, 0xffff_ffff) }),
  }
}

function deriveAndShow(
  seed: Uint8Array,
  place: DerivationPlace & { device: string },
  options: DeriveOptions,
): CommandResult {
  const secret = deriveTransportSecret(seed, place)
  try {
    const publicKey = transportPublicKey(secret)
    const identity = transportIdentity(ed25519PublicKey(seed))
    const shown = {
      identity: identity.name,
      device: place.device,
      context: place.context ?? place.device,
      generation: place.generation,
      public_key: hexEncode(publicKey),
      binding: hexEncode(signKeyBinding(seed, publicKey, place.device)),
    }
    const secretShown = options.showSecret === true ? { secret_key: hexEncode(secret) } : {}
    return { data: { ...shown, ...secretShown }, text: formatTable(Object.entries({ ...shown, ...secretShown })) }
  } finally {
    wipe(secret)
  }
}
