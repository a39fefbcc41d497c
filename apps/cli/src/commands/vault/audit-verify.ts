import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { VaultError, parseCheckpoint } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface VerifyFlags extends VaultFlags {
  readonly checkpoint?: string | undefined
}

/** Registers the command `verify`. */
export function registerVaultAuditVerify(audit: Command, cli: Cli): void {
  const verify = audit
    .command('verify')
    .description('check the chain; names the first bad record')
    .option('--checkpoint <file>', 'a checkpoint kept elsewhere: shows the loss of records at the end')
  cli.define<VerifyFlags>(withVault(verify), {
    example: ['keyturn vault audit verify', 'keyturn vault audit verify --checkpoint /media/stick/checkpoint.json'],
    run: verifyChain,
  })
}

const maxCheckpointBytes = 1024 * 1024

async function readCheckpoint(path: string): Promise<ReturnType<typeof parseCheckpoint>> {
  const { size } = await stat(path)
  if (size > maxCheckpointBytes) throw new VaultError('VK_AUDIT_BROKEN', `"${path}" is not a checkpoint: ${size} bytes`)
  return parseCheckpoint(await readFile(path))
}

async function verifyChain(context: Context, flags: VerifyFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const anchors = flags.checkpoint === undefined ? [] : [await readCheckpoint(resolve(flags.checkpoint))]
  const verdict = await vault.verifyAudit(anchors)
  if (!verdict.ok) {
    throw new VaultError('VK_AUDIT_BROKEN', `The audit chain is broken at record ${verdict.seq}: ${verdict.reason}`, {
      details: { seq: verdict.seq, flaw: verdict.flaw },
    })
  }
  return {
    data: { count: verdict.count, head: verdict.head, checkpoints: verdict.checkpoints },
    text:
      `${counted(verdict.count, 'record')}, every link and MAC holds, ` +
      `${counted(verdict.checkpoints, 'checkpoint')} on the chain.\nhead ${verdict.head}`,
  }
}
