import { printable } from '@keyturn/primitives'
import { parseIdentityName } from '@keyturn/noise-keys'
import { auditIdentity } from '@keyturn/noise-keys/owner'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { directoriesOf, identityOf, nowSeconds } from '@keyturn/publisher/transport'
import { FROM, serverOf, verdictData } from './lookup.ts'

interface AuditOptions {
  readonly from?: readonly string[] | undefined
  readonly maxAge: string
}

/** Registers `keyturn noise audit`. */
export function registerNoiseAudit(noise: Command, cli: Cli): void {
  const audit = noise
    .command('audit')
    .description('report what would stop a peer: old keys, gaps in overlaps, unlisted devices, slow relays')
    .argument('[identities...]', "names in z-base-32; default: the home's own")
    .option(...FROM, collect)
    .option('--max-age <days>', 'report keys that are older than this', '90')
  cli.define<AuditOptions>(audit, { example: 'keyturn noise audit --from https://updates.example', run: runAudit })
}

async function runAudit(context: Context, options: AuditOptions, [names]: readonly unknown[]): Promise<CommandResult> {
  const asked =
    Array.isArray(names) && names.length > 0
      ? (names as string[]).map(parseIdentityName)
      : [await identityOf(context, undefined)]
  const directories = directoriesOf(context, options.from, await serverOf(context, options.from))
  const audit = {
    nowS: nowSeconds(context),
    maxAgeDays: wholeNumber(options.maxAge, '--max-age', 1, 3650),
    signal: context.signal,
  }
  const reports = []
  for (const identity of asked) reports.push(await auditIdentity(identity, directories, audit))
  const rows = reports.flatMap(({ identity, findings }) =>
    findings.map(({ problem, where, detail }) => [identity.slice(0, 12), problem, printable(where, 60), detail]),
  )
  return {
    data: {
      reports: reports.map(({ identity, verdicts, findings }) => ({
        identity,
        keys: verdicts.map(verdictData),
        findings: findings.map((finding) => ({ ...finding })),
      })),
    },
    text: rows.length === 0 ? `nothing found in ${reports.length} of ${reports.length} identities` : formatTable(rows),
    no: rows.length > 0,
  }
}
