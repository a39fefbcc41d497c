import { readFile } from 'node:fs/promises'
import { writeFileAtomic } from '@keyturn/primitives/node'
import {
  activeKey,
  addKey,
  answerSigningRequest,
  cutOver,
  describeSigningRequest,
  draftPublication,
  formatSigningRequest,
  nextDeviceId,
  nextKey,
  parseSigningRequest,
  readSigningAnswer,
  retire,
} from '@keyturn/noise-keys/owner'
import type { Publication, TransportMetadata } from '@keyturn/noise-keys/owner'
import { hexDecode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { nowSeconds, openTransport } from '@keyturn/publisher/transport'
import { withSeedFile } from './seed.ts'

interface SignRequestOptions {
  readonly out: string
  readonly sign?: string | undefined
  readonly seedFile?: string | undefined
  readonly turn?: boolean | undefined
  readonly nextKey?: string | undefined
  readonly identity?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers `keyturn noise sign-request`. */
export function registerNoiseSignRequest(noise: Command, cli: Cli): void {
  const command = noise
    .command('sign-request')
    .description('sign offline by file: write a request here, sign it where the key is, publish the answer here')
    .requiredOption('--out <file>', 'where the request, or with --sign the answer, is written')
    .option('--turn', 'request a whole rotation in advance: announce, cut over, retire, each on its date')
    .option('--next-key <hex>', 'public key of the next key, as "noise derive" printed it on the offline machine')
    .option('--identity <z32>', "the cold identity, the first time; default: the home's own")
    .option('--sign <file>', 'on the offline machine: the request to sign')
    .option('--seed-file <file>', 'with --sign: the seed; default: the transport identity of the home')
    .option('--force', 'overwrite --out')
  cli.define<SignRequestOptions>(command, {
    example: [
      'keyturn noise sign-request --turn --next-key <hex> --out request.json',
      'keyturn noise sign-request --sign request.json --seed-file seed.hex --out answer.json',
    ],
    run: (context, options) =>
      options.sign === undefined ? writeRequest(context, options) : signRequest(context, options, options.sign),
  })
}

async function writeRequest(context: Context, options: SignRequestOptions): Promise<CommandResult> {
  const home = await openTransport(context, {
    write: true,
    ...(options.identity === undefined ? {} : { identity: options.identity }),
  })
  const nowS = nowSeconds(context)
  const { drafts, metadata } = draft(home.metadata, options, nowS)
  const request = formatSigningRequest(drafts)
  await writeFileAtomic(options.out, request, { mode: 0o644, overwrite: options.force === true })
  // Sequences are used up when the answer is published; what is kept here is which keys there are.
  await home.store(metadata)
  const lines = describeSigningRequest(drafts)
  return {
    data: { file: options.out, publications: drafts.length, lines },
    text: [`wrote ${options.out}`, '', ...lines].join('\n'),
  }
}

async function signRequest(context: Context, options: SignRequestOptions, file: string): Promise<CommandResult> {
  await refuseFrozen(context.homeFolder, context.clock)
  const request = await readFile(file)
  const lines = describeSigningRequest(parseSigningRequest(request))
  for (const line of lines) context.out.line(line)
  await context.ask.confirm('Sign this?')
  const use = (seed: Uint8Array): Uint8Array => answerSigningRequest(seed, request)
  const answer =
    options.seedFile === undefined
      ? await (await openTransport(context)).withSeed(use)
      : await withSeedFile(options.seedFile, use)
  const signed = readSigningAnswer(request, answer)
  await writeFileAtomic(options.out, answer, { mode: 0o644, overwrite: options.force === true })
  return {
    data: { file: options.out, publications: signed.length, lines },
    text: `signed ${signed.length} publications, wrote ${options.out}`,
  }
}

/** Drafts what is asked for, each publication as if the one before had been published. */
function draft(
  start: TransportMetadata,
  options: SignRequestOptions,
  nowS: number,
): { drafts: Publication[]; metadata: TransportMetadata } {
  const drafts: Publication[] = []
  let metadata = start
  const take = (atS: number): void => {
    const publication = draftPublication(metadata, atS)
    drafts.push(publication)
    metadata = assumePublished(metadata, publication)
  }
  if (activeKey(metadata) === undefined) {
    metadata = addKey(metadata, { device: 'server', publicKey: requiredKey(options), generation: 'G2' }, nowS)
    const kept = metadata
    take(nowS)
    return { drafts, metadata: kept }
  }
  if (options.turn !== true) {
    take(nowS)
    return { drafts, metadata: start }
  }
  const active = activeKey(metadata)
  if (nextKey(metadata) === undefined) {
    metadata = addKey(
      metadata,
      { device: nextDeviceId(metadata, active?.device ?? 'server'), publicKey: requiredKey(options), generation: 'G2' },
      nowS,
    )
  }
  const kept = metadata
  take(nowS)
  const cutOverAtS = nextKey(metadata)?.activeFromS ?? nowS
  metadata = cutOver(metadata, cutOverAtS)
  take(cutOverAtS)
  const retireAtS = cutOverAtS + metadata.policy.overlapS
  metadata = retire(metadata, retireAtS).metadata
  take(retireAtS)
  return { drafts, metadata: kept }
}

function requiredKey({ nextKey: key }: SignRequestOptions): Uint8Array {
  if (key === undefined || !/^[0-9a-f]{64}$/.test(key)) {
    throw new CliError('CLI_USAGE', '--next-key is not 64 hexadecimal digits', {
      hint: 'Run "keyturn noise derive --seed-file … --device …" on the cold machine; it prints public_key',
    })
  }
  return hexDecode(key)
}

/** Sequences as they will be; the list's own hash is known only once it is signed. */
function assumePublished(metadata: TransportMetadata, publication: Publication): TransportMetadata {
  const published = new Set(publication.records.map(({ device }) => device))
  return {
    ...metadata,
    keys: metadata.keys.map((key) => (published.has(key.device) ? { ...key, sequence: key.sequence + 1 } : key)),
    list: { seq: publication.list.seq, sha256: publication.list.prev ?? '0'.repeat(64) },
    packetUs: publication.packetTimestampUs,
  }
}
