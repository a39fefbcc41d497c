import { parseTime } from '@keyturn/manifest'
import { sha256Hex } from '@keyturn/primitives'
import type { RoleDocument } from '@keyturn/manifest'
import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { openHome } from '@keyturn/publisher'
import { readProposal } from '@keyturn/publisher/identity'
import { readRoles } from '@keyturn/publisher/records'

const DAY_MS = 86_400_000

interface ShowOptions {
  readonly document?: string | undefined
}

/** Registers `keyturn roles show`. */
export function registerShow(roles: Command, cli: Cli): void {
  const show = roles
    .command('show')
    .description('show the role document in force: keys, thresholds, revoked keys, expiry')
    .option('--document <n>', 'an older document by its number')
  cli.define<ShowOptions>(show, { example: 'keyturn roles show --json', run: runShow })
}

/** What a program wants to know of a role document. */
export function rolesData(document: RoleDocument, sha256: string): { [key: string]: JsonValue } {
  const role = ({ keys, threshold }: RoleDocument['roles']['head']): JsonValue => ({ keys: [...keys], threshold })
  return {
    version: document.version,
    product: document.product,
    epoch: document.epoch,
    sha256,
    issued_at: document.issuedAt,
    expires_at: document.expiresAt,
    release: role(document.roles.release),
    head: role(document.roles.head),
    revoked_keys: [...document.revokedKeys],
    transport: [...document.transport],
    log: document.log === undefined ? null : { policy: document.log.policy, grace_hours: document.log.graceHours },
    critical: [...(document.critical ?? [])],
  }
}

function logText({ log, critical = [] }: RoleDocument): string {
  if (log === undefined) return 'none'
  const demand = critical.includes('log') ? ', and launchers that do not know it install nothing' : ''
  return `${log.graceHours} h of grace${demand}`
}

/** A role document for people. */
export function rolesText(document: RoleDocument, nowMs: number): string {
  const days = Math.floor(((parseTime(document.expiresAt) ?? 0) - nowMs) / DAY_MS)
  const list = (keys: readonly string[]): string => (keys.length === 0 ? 'none' : keys.join('\n' + ' '.repeat(16)))
  return formatTable([
    ['role document', `${document.version} of ${document.product}, epoch ${document.epoch}`],
    ['valid', `${document.issuedAt} to ${document.expiresAt} (${days < 0 ? 'expired' : `${days} days left`})`],
    [
      `release ${document.roles.release.threshold}-of-${document.roles.release.keys.length}`,
      list(document.roles.release.keys),
    ],
    [`head ${document.roles.head.threshold}-of-${document.roles.head.keys.length}`, list(document.roles.head.keys)],
    ['revoked', list(document.revokedKeys)],
    ['transport', list(document.transport)],
    ['log policy', logText(document)],
  ])
}

async function runShow(context: Context, options: ShowOptions): Promise<CommandResult> {
  const { paths, description } = await openHome(context)
  const sealed = await readRoles(paths, description.identity.prefix)
  const last = sealed.length
  const wanted =
    options.document === undefined ? last : wholeNumber(options.document, '--document', 1, Math.max(1, last))
  const found = sealed[wanted - 1]
  if (found === undefined) throw new CliError('CLI_PATH_UNKNOWN', `The log seals no role document ${wanted}`)
  const proposal = await readProposal(paths)
  return {
    data: {
      ...rolesData(found.document, sha256Hex(found.bytes)),
      in_force: wanted === last,
      documents: last,
      proposed: proposal?.document.version,
    },
    text:
      rolesText(found.document, context.clock()) +
      (proposal === undefined
        ? ''
        : `\n\nDocument ${proposal.document.version} is proposed; "keyturn roles seal" puts it in force.`),
  }
}
