import { initialTrustState, parseTrustRoot, verifyManifestSignatures, verifyRelease } from '@keyturn/manifest'
import type { ReleaseDecision, RoleDocument } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { findRelease, readIdentityLog, readRoles, readStoredHead } from '@keyturn/publisher/records'
import { trustPin } from '@keyturn/publisher/release'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface VerifyOptions extends ChannelOption {
  readonly history?: boolean | undefined
}

/** Registers `keyturn release verify`. */
export function registerVerify(release: Command, cli: Cli): void {
  const verify = release
    .command('verify')
    .description('verify a release as a launcher would; with --history, as it was when it was signed')
    .argument('[version]', 'which (default: the one on offer)')
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option('--history', 'under the role document that the manifest names, not the one in force')
  cli.define<VerifyOptions>(verify, {
    example: ['keyturn release verify', 'keyturn release verify 2026.11.01-1 --history'],
    run: (context, options, [version]) =>
      options.history === true ? verifyHistory(context, options, version) : verifyNow(context, options),
  })
}

async function decide(context: Context, home: HomeSession, channel: string): Promise<ReleaseDecision> {
  const head = await readStoredHead(home.paths, channel)
  if (head === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Channel "${channel}" has no head yet`, {
      hint: 'Run "keyturn release offer VERSION"',
    })
  const { prefix } = home.description.identity
  const release = await findRelease(home.paths, channel, head.head.manifest.version)
  const roles = await readRoles(home.paths, prefix)
  const { bytes } = await readIdentityLog(home.paths, prefix)
  const inForce = roles.at(-1)?.bytes
  return verifyRelease(
    {
      logs: [bytes],
      head: head.bytes,
      manifest: release.bytes,
      earlierRoles: roles.map((document) => document.bytes),
      ...(inForce === undefined ? {} : { roles: inForce }),
      ...(release.signatures === undefined ? {} : { signatures: release.signatures }),
    },
    initialTrustState(parseTrustRoot(await trustPin(home))),
    { channel, product: home.description.product, nowMs: context.clock() },
  )
}

async function verifyNow(context: Context, options: VerifyOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const decision = await decide(context, home, channel)
  if (decision.outcome === 'refused') throw decision.error
  if (decision.outcome === 'stay')
    return { data: { channel, outcome: 'stay' }, text: `Everything on ${channel} is in order` }
  const { manifest, signedBy, manifestSha256 } = decision
  return {
    data: {
      channel,
      outcome: 'accepted',
      version: manifest.version,
      sequence: manifest.sequence,
      manifest_sha256: manifestSha256,
      signed_by: [...signedBy],
    },
    text: `${manifest.version} on ${channel} would be installed: log, role document, head and manifest are in order`,
  }
}

function requireDocument(
  roles: readonly { readonly document: RoleDocument }[],
  version: number | undefined,
): RoleDocument {
  const found = roles.find(({ document }) => document.version === version)
  if (found === undefined)
    throw new CliError('CLI_PATH_UNKNOWN', `The log seals no role document ${version ?? 'for a manifest of schema 1'}`)
  return found.document
}

async function verifyHistory(
  context: Context,
  options: VerifyOptions,
  version: string | undefined,
): Promise<CommandResult> {
  const home = await openHome(context)
  const release = await findRelease(home.paths, channelOf(options, home.description), version)
  if (release.signatures === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Release ${release.manifest.version} is not signed yet`)
  const roles = requireDocument(
    await readRoles(home.paths, home.description.identity.prefix),
    release.manifest.rolesVersion,
  )
  const { signedBy } = verifyManifestSignatures(release.bytes, release.signatures, {
    ...roles.roles.release,
    revokedKeys: [],
  })
  const { manifest } = release
  return {
    data: {
      version: manifest.version,
      roles_version: roles.version,
      claimed_at: manifest.issuedAt ?? manifest.createdAt,
      signed_by: [...signedBy],
    },
    text:
      `${manifest.version} is valid under role document ${roles.version}; it claims to be of ` +
      `${manifest.issuedAt ?? manifest.createdAt}`,
  }
}
