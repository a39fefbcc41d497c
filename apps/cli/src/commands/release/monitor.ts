import { join, resolve } from 'node:path'
import { openHome, PublisherError } from '@keyturn/publisher'
import { logPolicyInForce, monitorLog, requireServer } from '@keyturn/publisher/release'
import type { MonitorReport } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'

interface MonitorFlags {
  readonly server?: string | undefined
  readonly log?: string | undefined
  readonly state?: string | undefined
  readonly webhook?: string | undefined
  readonly seen?: boolean | undefined
}

/** Registers `keyturn release monitor`. */
export function registerMonitor(release: Command, cli: Cli): void {
  const monitor = release
    .command('monitor')
    .description('read the public log of releases; exit 1 when log or offers are not what this home published')
    .option('--server <url>', 'the release server (default: the one of the home)')
    .option('--log <url>', 'where the log is (default: …/p/<product>/log of the server)')
    .option('--state <file>', 'what was read, for the next time (default: monitor.json in the home)')
    .option('--seen', 'remember what is found, so that it is not reported again')
    .option('--webhook <url>', 'where the findings are sent as JSON, if there are any')
  cli.define<MonitorFlags>(monitor, {
    example: 'keyturn release monitor --webhook https://chat.example.org/hook',
    run: runMonitor,
  })
}

function findingsOf({ foreign, unlogged, disputed }: MonitorReport): string[] {
  return [
    ...foreign.map(({ type, channel, number, sha256 }) =>
      type === 'roles'
        ? `role document ${number} (${sha256}) is in the log and not in this home`
        : `release ${number} of channel ${channel} (${sha256}) is in the log and not in this home`,
    ),
    ...unlogged.map((channel) => `channel ${channel} offers what is not the newest in the log`),
    ...disputed.map((name) => `witness "${name}" has seen another or a longer log than was shown here`),
  ]
}

async function runMonitor(context: Context, flags: MonitorFlags): Promise<CommandResult> {
  const home = await openHome(context)
  const policy = await logPolicyInForce(home)
  const { product } = home.description
  const prefix = flags.log ?? `${requireServer(flags, home.description).replace(/\/+$/, '')}/p/${product}/log`
  const report = await monitorLog(home, policy, {
    prefix,
    stateFile: resolve(flags.state ?? join(home.paths.folder, 'monitor.json')),
    seen: flags.seen,
    http: { signal: context.signal },
  })
  const findings = findingsOf(report)
  const { origin, size, read, witnesses } = report
  const data = { origin, size, read, witnesses: [...witnesses], findings }
  if (findings.length > 0 && flags.webhook !== undefined)
    await send(flags.webhook, { product, ...data }, context.signal)
  return {
    data,
    text: [
      `${origin}: ${size} entries, ${read} new, signed by ${witnesses.length === 0 ? 'no witness' : witnesses.join(', ')}`,
      ...findings,
    ].join('\n'),
    failure:
      findings.length === 0
        ? undefined
        : new PublisherError(
            'REL_FOREIGN',
            `What is shown of ${product} is not what this home published: ${findings[0]}`,
            {
              hint: 'If nobody of yours made it, your keys are stolen: keyturn release kill both',
            },
          ),
  }
}

async function send(url: string, body: object, signal: AbortSignal): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  try {
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), redirect: 'error', signal })
    if (!answer.ok) throw new Error(`status ${answer.status}`)
  } catch (cause) {
    throw new CliError('CLI_NETWORK', `Cannot send the findings to "${url}"`, { cause })
  }
}
