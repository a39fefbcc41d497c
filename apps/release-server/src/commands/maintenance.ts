import type { Command } from 'commander'
import { verifyStoredAudit } from '../audit/audit.ts'
import { configOf, printAnswer } from '../command-line.ts'
import { readConfig, settings } from '../config.ts'
import { localOptions, storesFromConfig } from '../from-config.ts'
import { exportStatic } from '../releases/export-static.ts'
import { coolReleases } from '../releases/cool.ts'
import { checkStores } from '../releases/fsck.ts'
import { collectGarbage } from '../releases/gc.ts'
import { migrate } from '../storage/migrate.ts'
import { createReleaseServer } from '../server.ts'
import type { ReleaseServer } from '../server.ts'
import { ServerError } from '../errors.ts'

const caller = { actor: 'local', requestId: 'command' }

/** Runs work on the stores of an existing server, without listening. */
async function withStores<T>(command: Command, work: (server: ReleaseServer) => Promise<T>): Promise<T> {
  const server = await createReleaseServer(await localOptions(await configOf(command), { missing: 'require' }))
  try {
    return await work(server)
  } finally {
    await server.close()
  }
}

/** Commands that maintain the stores. */
export function addMaintenanceCommands(program: Command): void {
  addSettings(program)
  addChecks(program)
  addGarbageCollection(program)
  addCool(program)
  addExport(program)
  addMigrate(program)
}

function addSettings(program: Command): void {
  program
    .command('settings')
    .description('list all settings')
    .action((_options: unknown, command: Command) => {
      const width = Math.max(...settings.map(({ variable }) => variable.length))
      printAnswer(
        command,
        settings,
        settings.map(({ variable, meaning }) => `${variable.padEnd(width)}  ${meaning}`).join('\n'),
      )
    })
}

function addChecks(program: Command): void {
  program
    .command('audit-verify')
    .description('check the hash chain of the audit log')
    .action(async (_options: unknown, command: Command) => {
      const entries = await withStores(command, ({ context }) => verifyStoredAudit(context.metadata))
      printAnswer(command, { entries }, `The audit log is intact: ${entries} entries`)
    })

  program
    .command('fsck')
    .description('check blobs, records, releases and audit log against each other')
    .option('--no-hash', 'only check that blobs exist')
    .action(async (options: { hash: boolean }, command: Command) => {
      const report = await withStores(command, ({ context }) => checkStores(context, { hash: options.hash }, caller))
      const found = report.damaged.length + report.lost.length
      printAnswer(
        command,
        report,
        [
          `${report.blobs} blobs, ${report.bytes} bytes: ${report.damaged.length} damaged, ${report.lost.length} ` +
            `lost, ${report.adopted.length} recorded again`,
          ...report.broken.map((line) => `broken release ${line}`),
        ].join('\n'),
      )
      if (found > 0) throw new ServerError('BLOB_CORRUPT', `${found} blobs are damaged or lost`)
    })
}

function addGarbageCollection(program: Command): void {
  program
    .command('gc')
    .description('collect garbage; a dry run unless --yes')
    .option('--yes', 'really delete')
    .action(async (options: { yes?: boolean }, command: Command) => {
      const report = await withStores(command, ({ context }) =>
        collectGarbage(context, { dryRun: options.yes !== true, retention: {} }, caller),
      )
      printAnswer(
        command,
        report,
        `${report.dry_run ? 'Would delete' : 'Deleted'} ${report.blobs_deleted} blobs, ${report.bytes_deleted} ` +
          `bytes; marked ${report.blobs_marked}`,
      )
    })
}

function addCool(program: Command): void {
  program
    .command('cool')
    .description('store the files of older releases as chunks, each of which is on the disk once')
    .requiredOption('--keep-whole <n>', 'newest releases of each channel whose files stay whole')
    .action(async (options: { keepWhole: string }, command: Command) => {
      const keepWhole = Number(options.keepWhole)
      if (!/^[1-9]\d{0,4}$/.test(options.keepWhole))
        throw new ServerError(
          'SRV_CONFIG',
          `Cannot keep "${options.keepWhole}" releases whole: expected a number from 1`,
        )
      const report = await withStores(command, ({ context }) => coolReleases(context, keepWhole))
      printAnswer(
        command,
        report,
        `${report.blobs} blobs are stored as chunks now: ${report.bytesFreed} bytes freed, ${report.chunksRemoved} ` +
          'unused chunks removed',
      )
    })
}

function addExport(program: Command): void {
  program
    .command('export-static')
    .description('write the whole public tree as plain files, for any static host')
    .requiredOption('--to <folder>', 'folder of the static host')
    .action(async (options: { to: string }, command: Command) => {
      const report = await withStores(command, ({ context }) => exportStatic(context, options.to))
      printAnswer(
        command,
        report,
        `${report.documents} documents, ${report.blobs} blobs (${report.bytes} bytes) written`,
      )
    })
}

function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('copy everything into the stores that another settings file names; can be repeated')
    .requiredOption('--to <file>', 'JSON file with the settings of the target')
    .action(async (options: { to: string }, command: Command) => {
      const from = await storesFromConfig(await configOf(command), { missing: 'require' })
      const to = await storesFromConfig(await readConfig({}, options.to), { missing: 'create' })
      try {
        const report = await migrate(from, to)
        printAnswer(
          command,
          report,
          `${report.blobs} blobs (${report.blobsCopied} copied, ${report.bytesCopied} bytes), ${report.records} ` +
            'records; both sides are equal',
        )
      } finally {
        for (const { blobs, metadata } of [from, to]) await Promise.all([blobs.close(), metadata.close()])
      }
    })
}
