import { hexEncode, printable } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { isUsable, lookUpKeys } from '@keyturn/noise-keys/reader'
import type { KeyVerdict } from '@keyturn/noise-keys/reader'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { collect } from '../../flags/values.ts'
import { dateText } from './dates.ts'
import { openHome } from '@keyturn/publisher'
import { directoriesOf, directoryOf, identityOf, nowSeconds, openFloors } from '@keyturn/publisher/transport'

interface LookupOptions {
  readonly from?: readonly string[] | undefined
  readonly requireSigned?: boolean | undefined
}

export const FROM = [
  '--from <place>',
  "a release server's address or a folder; may be given several times. Default: the home's own folder and server",
] as const

/** Registers `keyturn noise lookup`. */
export function registerNoiseLookup(noise: Command, cli: Cli): void {
  const lookup = noise
    .command('lookup')
    .description('find and verify the keys of an identity; remember what it must never go below')
    .argument('[identity]', "name in z-base-32; default: the home's own")
    .option(...FROM, collect)
    .option('--require-signed', 'refuse plain records')
  cli.define<LookupOptions>(lookup, {
    example: 'keyturn noise lookup <identity> --from https://updates.example',
    run: runLookup,
  })
}

async function runLookup(
  context: Context,
  options: LookupOptions,
  [name]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const identity = await identityOf(context, name)
  const directories = directoriesOf(context, options.from, await serverOf(context, options.from))
  const { floors, store } = await openFloors(context)
  const verdicts = await lookUpKeys(directoryOf(directories), identity, floors, {
    nowS: nowSeconds(context),
    fresh: true,
    signal: context.signal,
    policy: { requireSigned: options.requireSigned === true },
  })
  // Before anything is said: anyone who acts on the answer must never be led back to what was before it.
  await store()
  return {
    data: { identity: identity.name, keys: verdicts.map(verdictData) },
    text:
      verdicts.length === 0
        ? `${identity.name} has published nothing`
        : [identity.name, '', verdictText(verdicts)].join('\n'),
    no: !verdicts.some(isUsable),
  }
}

export async function serverOf(context: Context, from: readonly string[] | undefined): Promise<string | undefined> {
  return from !== undefined && from.length > 0 ? undefined : (await openHome(context)).description.server
}

export function verdictData({ device, publicKey, verdict, code, reason, untilS, sequence, evidence }: KeyVerdict): {
  [key: string]: JsonValue
} {
  return {
    device,
    public_key: publicKey === undefined ? null : hexEncode(publicKey),
    verdict,
    code: code ?? null,
    reason,
    until: untilS ?? null,
    sequence: sequence ?? null,
    ...(evidence === undefined
      ? {}
      : { evidence: { what: evidence.what, sequence: evidence.sequence, documents: [...evidence.documents] } }),
  }
}

function verdictText(verdicts: readonly KeyVerdict[]): string {
  return formatTable(
    verdicts.map(({ device, verdict, publicKey, reason, untilS }) => [
      printable(device, 63),
      verdict,
      publicKey === undefined ? '' : hexEncode(publicKey).slice(0, 16),
      reason,
      untilS === undefined ? '' : `until ${dateText(untilS)}`,
    ]),
  )
}
