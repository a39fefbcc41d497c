import { rewrapFile, withArchiveFile } from '@keyturn/m2pack-format/node'
import type { OpenFileOptions } from '@keyturn/m2pack-format/node'
import { hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { requireFiles } from '../../paths.ts'
import { archiveKeyId, contentKey, keyIdFlag, ownVerifiers, signingSeed } from './flags.ts'

interface RewrapFlags {
  readonly archive: string
  readonly output: string
  readonly key: string
  readonly newKey: string
  readonly newKeyId: string
  readonly signSecretKey: string
  readonly publicKey?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers `rewrap`. */
export function registerRewrap(parent: Command, cli: Cli): void {
  const command = parent
    .command('rewrap')
    .description('rotate the content key of an archive without touching its files')
    .requiredOption('--archive <file>', 'archive to read')
    .requiredOption('--output <file>', 'archive to write')
    .requiredOption('--key <file>', 'present content key')
    .requiredOption('--new-key <file>', 'new content key')
    .requiredOption('--new-key-id <n>', 'number of the new content key; never used before')
    .requiredOption('--sign-secret-key <file>', 'archive signing key (signing.key)')
    .option('--public-key <file>', 'public key of the present archive (default: that of the signing key)')
    .option('--force', 'replace an existing archive')
  cli.define<RewrapFlags>(command, {
    example:
      'keyturn pack rewrap --archive old.m2p --output new.m2p --key keys/master.key --new-key new/master.key ' +
      '--new-key-id 2 --sign-secret-key keys/signing.key',
    dryRun: true,
    run: runRewrap,
  })
}

async function runRewrap(context: Context, flags: RewrapFlags): Promise<CommandResult> {
  requireFiles(flags.archive, flags.key, flags.newKey, flags.signSecretKey, flags.publicKey)
  const seed = await signingSeed(context, flags.signSecretKey)
  const keyId = await archiveKeyId(flags.archive)
  const newKeyId = keyIdFlag(flags.newKeyId, '--new-key-id')
  if (newKeyId === keyId)
    throw new CliError('CLI_USAGE', `--new-key-id ${newKeyId} is the key_id the archive has already`)
  const open = {
    verifiers: await ownVerifiers(flags.archive, flags.publicKey, seed),
    contentKey: await contentKey(context, flags.key, keyId),
  }
  const newKey = await contentKey(context, flags.newKey, newKeyId)
  if (context.dryRun) return plan(flags, open, newKeyId)
  const result = await rewrapFile(flags.archive, flags.output, {
    open,
    contentKey: newKey,
    signingSeed: seed,
    overwrite: flags.force === true,
    signal: context.signal,
  })
  return {
    data: {
      output: flags.output,
      previous_key_id: result.previousKeyId,
      key_id: result.keyId,
      files: result.files,
      archive_bytes: result.archiveBytes,
      changed_bytes_at_most: result.changedBytesAtMost,
      manifest_hash: hexEncode(result.manifestHash),
    },
    text:
      `${flags.output}: key_id ${result.previousKeyId} rotated to ${result.keyId}, at most ` +
      `${result.changedBytesAtMost} bytes differ`,
  }
}

/** What would change, after every check that a rewrap makes of the present archive. */
async function plan(flags: RewrapFlags, open: OpenFileOptions, newKeyId: number): Promise<CommandResult> {
  return withArchiveFile(flags.archive, open, (archive) => {
    const changed = 136 + 72 * archive.slotNumbers.length
    return {
      data: {
        output: flags.output,
        previous_key_id: archive.keyId,
        key_id: newKeyId,
        files: archive.entries.length,
        changed_bytes_at_most: changed,
      },
      text:
        `Would rotate key_id ${archive.keyId} to ${newKeyId}: at most ${changed} of ${archive.source.size} ` +
        'bytes differ',
    }
  })
}
