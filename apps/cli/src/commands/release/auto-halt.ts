import { openHome } from '@keyturn/publisher'
import { hasHeadSigner } from '@keyturn/publisher/health'
import { openClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import type { AutoHaltView, ReleaseServerClient } from '@keyturn/release-client'
import type { Command } from 'commander'
import type { CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { wholeNumber } from '../../flags/values.ts'

/** Options about a rollout that halts itself. */
export interface AutoHaltOptions {
  readonly autoHalt?: string | undefined
  readonly autoHaltSample?: string | undefined
}

/** A rule as asked for; `undefined`: no rule any more. */
export type AutoHaltRule = { readonly percent: number; readonly sample?: number } | undefined

/** Adds the flags. */
export function withAutoHalt(command: Command): Command {
  return command
    .option('--auto-halt <n>', 'halt by itself when fewer than n % of the reported starts live; "off" ends that')
    .option('--auto-halt-sample <n>', 'starts that have to be reported first (default: 100)')
}

/**
 * Reads the flags.
 *
 * @throws CliError `CLI_USAGE`.
 */
export function autoHaltOf({ autoHalt, autoHaltSample }: AutoHaltOptions): AutoHaltRule {
  if (autoHalt === undefined || autoHalt === 'off') {
    if (autoHaltSample !== undefined) throw new CliError('CLI_USAGE', '--auto-halt-sample needs --auto-halt <n>')
    return undefined
  }
  const percent = wholeNumber(autoHalt, '--auto-halt', 1, 99)
  if (autoHaltSample === undefined) return { percent }
  return { percent, sample: wholeNumber(autoHaltSample, '--auto-halt-sample', 10, 1_000_000) }
}

/** Where a rule is set. */
interface Place {
  readonly client: ReleaseServerClient
  readonly product: string
  readonly channel: string
}

/** Sets the rule, or ends it; warns where a halt would wait for a person. */
export async function putAutoHalt(
  context: Context,
  { client, product, channel }: Place,
  rule: AutoHaltRule,
): Promise<AutoHaltView | undefined> {
  if (rule === undefined) {
    await client.removeAutoHalt(product, channel)
    return undefined
  }
  const set = await client.setAutoHalt(product, channel, rule)
  if ((await hasHeadSigner(client).catch(() => undefined)) === false)
    context.warn('No head signer is connected to the server: a halt waits until you publish a head')
  return set
}

/** What a rule means, for people. */
export function autoHaltText(channel: string, rule: AutoHaltView | undefined): string {
  if (rule === undefined) return `Releases on ${channel} do not halt by themselves`
  return (
    `${rule.version} on ${channel} halts by itself when fewer than ${rule.percent} % of the reported starts live, ` +
    `after ${rule.sample} starts; it needs launchers that report`
  )
}

/** Sets a rule and changes nothing else: no key is needed. */
export async function runAutoHalt(
  context: Context,
  options: ChannelOption & ServerOptions & AutoHaltOptions,
): Promise<CommandResult> {
  const rule = autoHaltOf(options)
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const client = await openClient(options, home)
  const set = await putAutoHalt(context, { client, product: home.description.product, channel }, rule)
  return { data: { channel, auto_halt: set === undefined ? null : { ...set } }, text: autoHaltText(channel, set) }
}
