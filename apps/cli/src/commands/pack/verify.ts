import { M2pError } from '@keyturn/m2pack-format'
import type { ContentKey, VerifyFailure } from '@keyturn/m2pack-format'
import { verifyArchiveFile } from '@keyturn/m2pack-format/node'
import { exitCodes, formatBytes, KeyturnError, printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { findContentKey, requireVerifier } from './archive-keys.ts'
import type { ArchiveKeyFlags, FoundVerifier } from './archive-keys.ts'
import { requireFiles } from '../../paths.ts'
import { jobsFlag } from './flags.ts'

interface VerifyFlags extends Omit<ArchiveKeyFlags, 'archive'> {
  readonly archive: readonly string[]
  readonly jobs?: string | undefined
}

/** Refused archives that an error names; the steps name all. */
const maxListed = 20

/** What one sound archive came to. */
interface Verified {
  readonly data: Record<string, string | number | boolean | string[]>
  readonly text: string
}

/** Registers `verify`. */
export function registerVerify(parent: Command, cli: Cli): void {
  const command = parent
    .command('verify')
    .description('verify archives: signature and table; with the content key every file')
    .requiredOption('--archive <file...>', 'archive to verify, or several: all are checked, whatever one of them says')
    .option(
      '--public-key <file>',
      'public key of the archive, signing.pub (default: both keys of the home that made it)',
    )
    .option('--key <file>', 'content key (master.key): checks payloads too')
    .option('--key-id <n>', "key_id of both keys (default: the archive's)")
    .option('--jobs <n>', 'threads (default: one a core)')
  cli.define<VerifyFlags>(command, {
    example: [
      'keyturn pack verify --archive pack/data.m2p --public-key keys/signing.pub --key keys/master.key',
      'keyturn pack verify --archive tree/pack/data.m2p',
    ],
    run: runVerify,
  })
}

/** Throws for the failure with the highest exit code; the others are reported as steps. */
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

/** The home's keystore is opened once for each content key, not for each archive. */
function contentKeys(
  context: Context,
  flags: VerifyFlags,
): (archive: string, found: FoundVerifier) => Promise<ContentKey | undefined> {
  const known = new Map<number, Promise<ContentKey | undefined>>()
  return (archive, found) => {
    const key = known.get(found.keyId) ?? findContentKey(context, { ...flags, archive }, found)
    known.set(found.keyId, key)
    return key
  }
}

async function verifyOne(
  context: Context,
  flags: VerifyFlags,
  archive: string,
  keyFor: ReturnType<typeof contentKeys>,
): Promise<Verified> {
  const found = await requireVerifier(context, { ...flags, archive })
  const bar = context.out.progress('verifying')
  context.defer(() => bar.end())
  const report = await verifyArchiveFile(archive, {
    verifiers: found.verifiers,
    contentKey: await keyFor(archive, found),
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
      key_id: found.keyId,
      signature_ok: report.signatureChecked,
      hash_ok: true,
      payloads_checked: report.payloadsChecked,
      files_checked: report.filesChecked,
      bytes_checked: report.bytesChecked,
      failures: [],
    },
    text: `${archive}: sound (${what})`,
  }
}

async function runVerify(context: Context, flags: VerifyFlags): Promise<CommandResult> {
  requireFiles(...flags.archive, flags.publicKey, flags.key)
  const keyFor = contentKeys(context, flags)
  const [only, ...others] = flags.archive
  if (only !== undefined && others.length === 0) return await verifyOne(context, flags, only, keyFor)
  const sound: { readonly archive: string; readonly verified: Verified }[] = []
  const refused: { readonly archive: string; readonly error: KeyturnError }[] = []
  for (const archive of flags.archive) {
    try {
      sound.push({ archive, verified: await verifyOne(context, flags, archive, keyFor) })
    } catch (error) {
      if (!(error instanceof KeyturnError) || error.kind === 'interrupted' || error.kind === 'bug') throw error
      refused.push({ archive, error })
      context.out.step('refused', `${printable(archive)}: ${error.code}: ${error.message}`, {
        archive: printable(archive),
        code: error.code,
      })
    }
  }
  if (refused.length > 0) {
    const which = refused
      .slice(0, maxListed)
      .map(({ archive, error }) => `${printable(archive)} ${error.code}`)
      .join('; ')
    throw new CliError(
      'CLI_ARCHIVES',
      `${refused.length} of ${flags.archive.length} archives refused: ` +
        `${which}${refused.length > maxListed ? '; …' : ''}`,
      {
        details: { refused: refused.length, archives: flags.archive.length, which },
      },
    )
  }
  return {
    data: { archives: sound.map(({ archive, verified }) => ({ archive, ...verified.data })) },
    text: sound.map(({ verified }) => verified.text).join('\n'),
  }
}
