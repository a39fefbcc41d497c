import { pathExists } from '@keyturn/primitives/node'
import { formatPin, isAbandoned, isEstablishmentOnly } from '@keyturn/kel'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { aliasFlag, isStoredInside, openIdentity, openOwnLog } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { pendingRotations } from '@keyturn/publisher/pending'
import { stateJson } from './json.ts'

export interface AliasOption {
  readonly alias?: string | undefined
}

/** Registers `keyturn id show`. */
export function registerIdShow(id: Command, cli: Cli): void {
  const show = id
    .command('show')
    .description('show the identity: keys in force, promised keys, thresholds, witnesses')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<AliasOption>(show, { example: 'keyturn id show --json', run: runShow })
}

/** Where the next keys are; a warning for each that is beside the current key. */
async function nextKeys(
  context: Context,
  identity: Identity,
): Promise<{ file: string; present: boolean; beside: boolean }[]> {
  return await Promise.all(
    identity.next.map(async ({ file }) => ({
      file,
      present: await pathExists(file),
      beside: await isStoredInside(context.homeFolder, file),
    })),
  )
}

async function runShow(context: Context, options: AliasOption): Promise<CommandResult> {
  const identity = await openIdentity(context, options)
  const kel = await openOwnLog(identity)
  const { state } = kel
  const pin = formatPin({ prefix: state.prefix, place: state.lastEstablishment })
  const next = await nextKeys(context, identity)
  const pending = (await pendingRotations(identity.journals)).includes(identity.journal)
  for (const { file, beside } of next) {
    if (beside) context.out.warn(`the next key is beside the current one: move ${file} to another medium`)
  }
  const rows: string[][] = [
    ['identity', `did:keri:${state.prefix}`],
    ['alias', identity.alias],
    ['last event', `${state.sn} ${state.type} ${state.said}`],
    ['pin', pin],
    ['keys in force', `${state.keys.join(', ')} (${state.threshold.text} needed)`],
    [
      'promised',
      isAbandoned(state)
        ? 'nothing: the identity is abandoned'
        : `${state.nextDigests.join(', ')} (${state.nextThreshold.text} needed)`,
    ],
    [
      'witnesses',
      state.witnesses.length === 0 ? 'none' : `${state.witnesses.join(', ')} (${state.witnessThreshold} needed)`,
    ],
    ['interactions', isEstablishmentOnly(state) ? 'not allowed (EO)' : 'allowed'],
    ...next.map(({ file, present }) => ['next key', `${file}${present ? '' : ' (not here)'}`]),
    ...(pending ? [['rotation', `interrupted: run "keyturn id rotate${aliasFlag(identity)}" to finish it`]] : []),
  ]
  return {
    data: {
      kind: identity.kind,
      alias: identity.alias,
      pin,
      state: stateJson(state),
      event_count: kel.events.length,
      superseded: kel.superseded.map((event) => event.said),
      next_keys: next,
      rotation_pending: pending,
      warnings: [...kel.warnings],
    },
    text: formatTable(rows),
  }
}
