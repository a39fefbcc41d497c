import { initialTrustState, parseTrustRoot, releaseSteps } from '@keyturn/manifest'
import { sha256Hex, KeyturnError } from '@keyturn/primitives'
import type { AcceptedRelease, DocumentRequest, ManifestFile } from '@keyturn/manifest'
import { ReleaseServerClient } from '@keyturn/release-client'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'
import { openHome } from '@keyturn/publisher'
import { requireServer, trustPin } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface VerifyPublicOptions extends ChannelOption, ServerOptions {
  readonly trust?: string | undefined
  readonly blobs: string
}

/** Registers `keyturn release verify-public`. */
export function registerVerifyPublic(release: Command, cli: Cli): void {
  const verify = release
    .command('verify-public')
    .description('verify the public tree as anyone with the pin would: documents, signatures, and blobs')
    .option(
      '--server <url>',
      'where the tree is served; of a product that is not the default one: …/p/<product> (default: the server of ' +
        'the home)',
    )
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option('--trust <pin>', 'did:keri:… (default: the identity of the home)')
    .option('--blobs <n>', 'how many blobs to fetch and hash, "all" for every one', '20')
  cli.define<VerifyPublicOptions>(verify, {
    example: 'keyturn release verify-public --server https://updates.example.org --blobs all',
    run: runVerifyPublic,
  })
}

/** Where the public tree keeps a document. */
export function publicPath(request: DocumentRequest): string {
  switch (request.document) {
    case 'log':
      return `/kel/${request.prefix}.cesr`
    case 'roles':
      return `/roles/${request.version}.json`
    case 'kills':
      return '/kills.json'
    case 'head':
      return `/channels/${request.channel}/head.json`
    case 'manifest':
      return `/channels/${request.channel}/manifests/${encodeURIComponent(request.pin?.version ?? '')}.json`
    case 'signatures':
      return `/channels/${request.channel}/manifests/${encodeURIComponent(request.pin.version)}.sigs.json`
    case 'proof':
      return `/channels/${request.channel}/manifests/${encodeURIComponent(request.pin.version)}.tlog-proof`
    case 'legacy-signature':
      return `/channels/${request.channel}/manifest.json.sig`
  }
}

/** What is longer than it may be is as good as not there; no more than that is read of it. */
async function fetchAtMost(
  client: ReleaseServerClient,
  path: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  try {
    return await client.fetchPublic(path, { maxBytes })
  } catch (error) {
    // A server that does not answer is the cause of its error; an answer over the limit has none.
    if (error instanceof KeyturnError && error.code === 'SRV_NETWORK' && error.cause === undefined) return undefined
    throw error
  }
}

async function fetchRelease(
  client: ReleaseServerClient,
  context: Context,
  trust: string,
  channel: string,
): Promise<AcceptedRelease> {
  const steps = releaseSteps(initialTrustState(parseTrustRoot(trust)), { channel, nowMs: context.clock() })
  let step = steps.next()
  while (step.done !== true) {
    context.signal.throwIfAborted()
    step = steps.next(await fetchAtMost(client, publicPath(step.value), step.value.maxBytes))
  }
  const decision = step.value
  if (decision.outcome === 'refused') throw decision.error
  if (decision.outcome === 'stay') throw new CliError('CLI_INTERNAL', 'A first install cannot stay as it is')
  return decision
}

/** A few blobs from all over the list, or every one. */
function sample(files: readonly ManifestFile[], wanted: string): ManifestFile[] {
  const count = wanted === 'all' ? files.length : wholeNumber(wanted, '--blobs', 0, 1_000_000)
  const stride = Math.max(1, Math.floor(files.length / Math.max(1, count)))
  return files.filter((_, index) => index % stride === 0).slice(0, count)
}

async function runVerifyPublic(context: Context, options: VerifyPublicOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const client = new ReleaseServerClient(requireServer(options, home.description))
  const { manifest, manifestSha256, authority } = await fetchRelease(
    client,
    context,
    options.trust ?? (await trustPin(home)),
    channel,
  )
  const progress = context.out.progress('blobs', 'count')
  const checked = sample(manifest.files, options.blobs)
  const bad: string[] = []
  try {
    for (const [index, { path, sha256, size }] of checked.entries()) {
      context.signal.throwIfAborted()
      const bytes = await fetchAtMost(client, `/files/${sha256.slice(0, 2)}/${sha256}`, size)
      if (bytes?.length !== size || sha256Hex(bytes) !== sha256) bad.push(path)
      progress.update(index + 1, checked.length)
    }
  } finally {
    progress.end()
  }
  return {
    data: {
      channel,
      version: manifest.version,
      manifest_sha256: manifestSha256,
      roles_version: authority?.roles.version,
      blobs_checked: checked.length,
      blobs_bad: bad,
    },
    text:
      bad.length === 0
        ? `${manifest.version} on ${channel} is in order; ${checked.length} of ${manifest.files.length} files ` +
          'fetched and hashed'
        : `Missing or wrong on the server:\n${bad.join('\n')}`,
    no: bad.length > 0,
  }
}
