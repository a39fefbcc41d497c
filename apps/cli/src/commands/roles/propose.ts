import { readFile } from 'node:fs/promises'
import { limits } from '@keyturn/manifest'
import { checkRolesStep, writeRoles } from '@keyturn/manifest/publish'
import { sha256Hex, hexEncode, utf8Decode } from '@keyturn/primitives'
import type { LogPolicy, Role, RoleDocument } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { openHome } from '@keyturn/publisher'
import { storeProposal } from '@keyturn/publisher/identity'
import { daysFrom } from '@keyturn/publisher/keys'
import type { KeyKind, Keys } from '@keyturn/publisher/keys'
import { rolesInForce } from '@keyturn/publisher/records'
import { refuseWhileRotating } from '@keyturn/publisher/pending'
import { rolesData, rolesText } from './show.ts'

interface ProposeOptions {
  readonly addRelease?: readonly string[] | undefined
  readonly removeRelease?: readonly string[] | undefined
  readonly releaseThreshold?: string | undefined
  readonly addHead?: readonly string[] | undefined
  readonly removeHead?: readonly string[] | undefined
  readonly headThreshold?: string | undefined
  readonly revoke?: readonly string[] | undefined
  readonly addTransport?: readonly string[] | undefined
  readonly removeTransport?: readonly string[] | undefined
  /** A file; false for `--no-log-policy`. */
  readonly logPolicy?: string | boolean | undefined
  readonly logGrace?: string | undefined
  readonly logCritical?: boolean | undefined
  readonly raiseEpoch?: boolean | undefined
  readonly days: string
}

/** Registers `keyturn roles propose`. */
export function registerPropose(roles: Command, cli: Cli): void {
  const propose = roles
    .command('propose')
    .description('write the next role document; nothing changes until "keyturn roles seal"')
    .option('--add-release <key>', 'a key that may sign releases: hex, an alias of the keystore, or "new"', collect)
    .option('--remove-release <key>', 'a key that no longer may', collect)
    .option('--release-threshold <n>', 'how many of them have to sign')
    .option('--add-head <key>', 'a key that may sign heads: hex, an alias of the keystore, or "new"', collect)
    .option('--remove-head <key>', 'a key that no longer may', collect)
    .option('--head-threshold <n>', 'how many of them have to sign')
    .option(
      '--revoke <key>',
      'a stolen key: leaves its role and counts for nothing any more, even for what is installed',
      collect,
    )
    .option('--add-transport <z32>', 'an identity that may deliver runtime keys', collect)
    .option('--remove-transport <z32>', 'one that no longer may', collect)
    .option(
      '--log-policy <file>',
      'launchers install only what is in a public log that the witnesses of this policy signed',
    )
    .option(
      '--log-grace <hours>',
      'hours for which releases without a proof are still installed, 0 to 720 (default: 48, or as it is)',
    )
    .option('--log-critical', 'launchers that do not know log policies install nothing')
    .option('--no-log-critical', 'they install as if there were none')
    .option('--no-log-policy', 'launchers look at no log any more')
    .option('--raise-epoch', 'reset the sequences: after a thief burnt them')
    .option('--days <n>', 'days until the document expires, at most 400', '365')
  cli.define<ProposeOptions>(propose, {
    example: [
      'keyturn roles propose --add-release new --remove-release release/1',
      'keyturn roles propose --revoke release/1 --add-release new',
      'keyturn roles propose --log-policy policy.txt --log-grace 0',
    ],
    dryRun: true,
    run: runPropose,
  })
}

/** A key as people name it: hex, or an alias of the keystore. */
async function keyOf(text: string, keys: Keys): Promise<string> {
  if (/^[0-9a-f]{64}$/.test(text)) return text
  if (!keys.has(text)) throw new CliError('CLI_USAGE', `"${text}" is neither 64 hex digits nor a key of the keystore`)
  return hexEncode(await keys.publicKey(text))
}

/** Alias for a fresh key: the first number that neither home nor keystore has used. */
function freshAlias(kind: 'release' | 'head', keys: Keys): string {
  for (let n = 1; ; n++) if (!keys.has(`${kind}/${n}`)) return `${kind}/${n}`
}

interface RoleChange {
  readonly kind: 'release' | 'head'
  readonly add: readonly string[]
  readonly remove: readonly string[]
  readonly threshold: string | undefined
}

/** What every role of the document is changed with. */
interface RoleScene {
  readonly revoked: ReadonlySet<string>
  readonly keys: Keys
  readonly dryRun: boolean
}

async function changeRole(role: Role, change: RoleChange, { revoked, keys, dryRun }: RoleScene): Promise<Role> {
  const removed = new Set(await Promise.all(change.remove.map((text) => keyOf(text, keys))))
  const kept = role.keys.filter((key) => !removed.has(key) && !revoked.has(key))
  const added: string[] = []
  for (const text of change.add) {
    if (text !== 'new') added.push(await keyOf(text, keys))
    else if (!dryRun)
      added.push(hexEncode(await keys.makeSigning(freshAlias(change.kind, keys), change.kind as KeyKind)))
  }
  const next = [...kept, ...added.filter((key) => !kept.includes(key))]
  const threshold =
    change.threshold === undefined
      ? Math.min(role.threshold, Math.max(1, next.length))
      : wholeNumber(change.threshold, `--${change.kind}-threshold`, 1, 16)
  return { keys: next, threshold }
}

/** The log policy of the next document: another one, none, or the one in force, with another grace time perhaps. */
async function logPolicyOf(
  { logPolicy, logGrace, logCritical }: ProposeOptions,
  document: RoleDocument,
): Promise<LogPolicy | undefined> {
  const { log } = document
  const graceHours =
    logGrace === undefined
      ? (log?.graceHours ?? limits.graceHours)
      : wholeNumber(logGrace, '--log-grace', 0, limits.maxGraceHours)
  if (typeof logPolicy === 'string') return { policy: utf8Decode(await readFile(logPolicy)), graceHours }
  const needsOne = logGrace !== undefined || logCritical === true
  if (needsOne && (logPolicy === false || log === undefined))
    throw new CliError('CLI_USAGE', '--log-grace and --log-critical are about a log policy, and there is none', {
      hint: 'Give one with --log-policy FILE',
    })
  return logPolicy === false ? undefined : log && { ...log, graceHours }
}

/** Members that launchers have to know: those of before, with or without the log policy. */
function criticalOf(
  { logCritical }: ProposeOptions,
  { critical = [] }: RoleDocument,
  log: LogPolicy | undefined,
): string[] {
  const others = critical.filter((name) => name !== 'log')
  const isCritical = log !== undefined && (logCritical ?? critical.includes('log'))
  return isCritical ? [...others, 'log'] : others
}

/** The document with the log policy of the next one. */
async function withLog(options: ProposeOptions, document: RoleDocument): Promise<RoleDocument> {
  const { log: _log, critical: _critical, ...rest } = document
  const log = await logPolicyOf(options, document)
  const critical = criticalOf(options, document, log)
  return { ...rest, ...(log && { log }), ...(critical.length > 0 && { critical }) }
}

async function runPropose(context: Context, options: ProposeOptions): Promise<CommandResult> {
  const home = await openHome(context, { write: !context.dryRun })
  await refuseWhileRotating(home.paths)
  const keys = await home.keys()
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const revoked = new Set([
    ...document.revokedKeys,
    ...(await Promise.all((options.revoke ?? []).map((text) => keyOf(text, keys)))),
  ])
  const now = context.clock()
  const scene = { revoked, keys, dryRun: context.dryRun }
  const { release, head } = document.roles
  const next: RoleDocument = {
    ...(await withLog(options, document)),
    version: document.version + 1,
    epoch: document.epoch + (options.raiseEpoch === true ? 1 : 0),
    issuedAt: daysFrom(now, 0),
    expiresAt: daysFrom(now, wholeNumber(options.days, '--days', 1, 400)),
    roles: {
      release: await changeRole(
        release,
        {
          kind: 'release',
          add: options.addRelease ?? [],
          remove: options.removeRelease ?? [],
          threshold: options.releaseThreshold,
        },
        scene,
      ),
      head: await changeRole(
        head,
        {
          kind: 'head',
          add: options.addHead ?? [],
          remove: options.removeHead ?? [],
          threshold: options.headThreshold,
        },
        scene,
      ),
    },
    revokedKeys: [...revoked],
    transport: [
      ...document.transport.filter((id) => options.removeTransport?.includes(id) !== true),
      ...(options.addTransport ?? []),
    ],
  }
  if (context.dryRun)
    return { data: { version: next.version, written: false }, text: `Would propose role document ${next.version}` }
  const bytes = writeRoles(next)
  checkRolesStep(document, next)
  await storeProposal(home.paths, bytes)
  return {
    data: { ...rolesData(next, sha256Hex(bytes)), written: true },
    text: `${rolesText(next, now)}\n\nProposed. "keyturn roles seal" rotates the identity and puts it in force.`,
  }
}
