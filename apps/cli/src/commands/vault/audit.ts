import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { VaultError, parseCheckpoint, writeAuditRecord, writeCheckpoint } from '@keyturn/vault-kdf'
import type { AuditRecord } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { wholeNumber } from '../../flags/values.ts'
import { counted, formatTable } from '../../output.ts'
import { refuseExisting } from '../../paths.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface VerifyFlags extends VaultFlags {
  readonly checkpoint?: string
}

interface ListFlags extends VaultFlags {
  readonly last: string
}

interface CheckpointFlags extends VaultFlags {
  readonly output?: string
  readonly force?: boolean
}

/** Registers `keyturn vault audit verify | list | checkpoint`. */
export function registerVaultAudit(vault: Command, cli: Cli): void {
  const audit = vault.command('audit').description('the chain of everything that happened to keys and across cells')
  const verify = audit
    .command('verify')
    .description('check the chain; names the first bad record')
    .option('--checkpoint <file>', 'a checkpoint kept elsewhere: shows the loss of records at the end')
  cli.define<VerifyFlags>(withVault(verify), {
    example: ['keyturn vault audit verify', 'keyturn vault audit verify --checkpoint /media/stick/checkpoint.json'],
    run: verifyChain,
  })
  const list = audit.command('list').description('the newest records').option('--last <n>', 'how many', '20')
  cli.define<ListFlags>(withVault(list), { example: 'keyturn vault audit list --last 5', run: listRecords })
  const checkpoint = audit
    .command('checkpoint')
    .description('sign where the chain stands, to be kept elsewhere')
    .option('-o, --output <file>', 'write it to this file')
    .option('--force', 'replace an existing file')
  cli.define<CheckpointFlags>(withVault(checkpoint), {
    example: 'keyturn vault audit checkpoint --output /media/stick/checkpoint.json',
    run: makeCheckpoint,
  })
}

const maxCheckpointBytes = 1024 * 1024

async function readCheckpoint(path: string): Promise<ReturnType<typeof parseCheckpoint>> {
  const { size } = await stat(path)
  if (size > maxCheckpointBytes) throw new VaultError('VK_AUDIT_BROKEN', `"${path}" is no checkpoint: ${size} bytes`)
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
    text: `${counted(verdict.count, 'record')}, every link and MAC holds, ${counted(verdict.checkpoints, 'checkpoint')} on the chain.\nhead ${verdict.head}`,
  }
}

async function listRecords(context: Context, flags: ListFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const wanted = wholeNumber(flags.last, '--last', 1, 100_000)
  const records: AuditRecord[] = []
  for await (const record of vault.audit.records()) {
    records.push(record)
    if (records.length > wanted) records.shift()
  }
  const rows = records.map((record) => [
    String(record.seq),
    new Date(Number(BigInt(record.time) / 1_000_000n)).toISOString(),
    record.type,
    record.outcome,
    [versions(record), record.cell === '' ? '' : `${record.cell}${record.toCell === '' ? '' : ` to ${record.toCell}`}`]
      .filter((text) => text !== '')
      .join(' '),
  ])
  return {
    data: { records: records.map((record) => JSON.parse(writeAuditRecord(record)) as { seq: number }) },
    text: formatTable(rows),
  }
}

function versions({ fromVersion, toVersion }: AuditRecord): string {
  if (fromVersion === undefined && toVersion === undefined) return ''
  return `key ${[fromVersion, toVersion].filter((version) => version !== undefined).join(' to ')}`
}

async function makeCheckpoint(context: Context, flags: CheckpointFlags): Promise<CommandResult> {
  refuseExisting(flags.output, flags.force)
  const vault = await openVault(context, flags)
  const checkpoint = await vault.audit.checkpoint()
  if (flags.output !== undefined)
    await writeFileAtomic(resolve(flags.output), writeCheckpoint(checkpoint), { overwrite: flags.force === true })
  const { seq, head } = checkpoint
  return {
    data: { seq, head, output: flags.output === undefined ? undefined : resolve(flags.output) },
    text:
      flags.output === undefined
        ? new TextDecoder().decode(writeCheckpoint(checkpoint))
        : `Checkpoint of record ${seq} written to ${resolve(flags.output)}. Keep it on another machine.`,
  }
}
