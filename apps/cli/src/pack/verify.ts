import { M2pError, type VerifyFailure } from '@keyturn/m2pack-format'
import { verifyArchiveFile } from '@keyturn/m2pack-format/node'
import { printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { exitCodes } from '@keyturn/primitives'
import { counted, formatBytes } from '../output.ts'
import { type ArchiveKeyFlags, findContentKey, requireVerifier } from './archive-keys.ts'
import { requireFiles } from '../paths.ts'
import { jobsFlag } from './flags.ts'

interface VerifyFlags extends ArchiveKeyFlags {
  readonly jobs?: string
}

/** Registers `verify`. */
export function registerVerify(parent: Command, cli: Cli): void {
  const command = parent
    .command('verify')
    .description('verify an archive: signature and table; with the content key every file')
    .requiredOption('--archive <file>', 'archive to verify')
    .option('--public-key <file>', 'public key of the archive, signing.pub (default: both keys of the home that made it)')
    .option('--key <file>', 'content key (master.key): checks payloads too')
    .option('--key-id <n>', "key_id that both keys stand for (default: the archive's)")
    .option('--jobs <n>', 'threads (default: one a core)')
  cli.define<VerifyFlags>(command, {
    example: [
      'keyturn pack verify --archive pack/data.m2p --public-key keys/signing.pub --key keys/master.key',
      'keyturn pack verify --archive tree/pack/data.m2p',
    ],
    run: runVerify,
  })
}

/** Throws for the failure with the highest exit code; the others are told as steps. */
function refuse(context: Context, failures: readonly VerifyFailure[], files: number): never {
  for (const { path, code, message } of failures)
    context.out.step('failure', `${printable(path)}: ${code}: ${message}`, { path, code })
  const [worst] = failures.toSorted((left, right) => exitCodes[right.kind] - exitCodes[left.kind])
  if (worst === undefined) throw new TypeError('refuse() wants a failure')
  throw new M2pError(
    worst.code,
    `${failures.length} of ${counted(files, 'file')} refused; "${printable(worst.path)}": ${worst.message}`,
    {
      details: { failures: failures.length, path: printable(worst.path) },
    },
  )
}

async function runVerify(context: Context, flags: VerifyFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.publicKey, flags.key)
  const found = await requireVerifier(context, flags)
  const { verifiers, keyId } = found
  const key = await findContentKey(context, flags, found)
  const bar = context.out.progress('verifying')
  context.defer(() => bar.end())
  const report = await verifyArchiveFile(flags.archive, {
    verifiers,
    contentKey: key,
    jobs: jobsFlag(flags.jobs),
    signal: context.signal,
    onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
  })
  bar.end()
  if (!report.ok) refuse(context, report.failures, report.filesChecked)
  const what = report.payloadsChecked
    ? `${counted(report.filesChecked, 'file')}, ${formatBytes(report.bytesChecked)}`
    : 'signature and table; payloads need --key'
  return {
    data: {
      key_id: keyId,
      signature_ok: report.signatureChecked,
      hash_ok: true,
      payloads_checked: report.payloadsChecked,
      files_checked: report.filesChecked,
      bytes_checked: report.bytesChecked,
      failures: [],
    },
    text: `${flags.archive}: sound (${what})`,
  }
}
