import { isRecord } from '@keyturn/primitives'
import { checkStream } from '@keyturn/kel'
import type { VerifiedEvent } from '@keyturn/kel'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import {
  aliasFlag,
  isStoredInside,
  listDevices,
  openOwnLog,
  readFreeze,
  readReasons,
} from '@keyturn/publisher/identity'
import type { Identity, KeptReason } from '@keyturn/publisher/identity'
import { eventJson, stateJson } from '../id/json.ts'

/** What is known of the identity, as far as it decides what is left to do. */
interface Findings {
  readonly duplicity: number
  readonly superseded: number
  readonly devicesVoid: number
  readonly besideCurrent: boolean
  /** The last rotation, when it was made for a reason that is kept here: an emergency that was answered. */
  readonly answered: JsonObject | undefined
}

function recommendations(identity: Identity, facts: Findings): string[] {
  const { answered } = facts
  const flag = aliasFlag(identity)
  const current = flag.replace('--alias', '--current-alias')
  return [
    ...(facts.duplicity > 0 ? ['Two signed events claim one place: keep the evidence, publish it, and rotate'] : []),
    ...(facts.superseded > 0 ? ['Interactions were superseded by a rotation: look at what they sealed'] : []),
    ...(answered !== undefined && identity.kind === 'release'
      ? ['Publish the log if that is not done yet: keyturn release renew --all']
      : []),
    ...(facts.devicesVoid > 0
      ? [`Link the devices again that the rotation made void: keyturn device link${flag}`]
      : []),
    ...(facts.besideCurrent
      ? [`Move the next key away from the current one: ${identity.next.map(({ file }) => file).join(', ')}`]
      : []),
    ...(answered === undefined
      ? [`If the current key may be known to someone else: keyturn emergency rotate-now${current}`]
      : [
          `If the key in force since event ${String(answered['sn'])} may be known to someone else as well: keyturn ` +
            `emergency rotate-now${current}`,
        ]),
  ]
}

/** Events with the reasons that they seal and that are kept here. */
function eventsJson(events: readonly VerifiedEvent[], reasons: ReadonlyMap<string, KeptReason>): JsonObject[] {
  return events.map((event) => {
    const kept = event.seals
      .map((seal) => (isRecord(seal) && typeof seal['d'] === 'string' ? reasons.get(seal['d']) : undefined))
      .find((reason) => reason !== undefined)
    return { ...eventJson(event), ...(kept === undefined ? {} : { reason: kept.reason, at: kept.at }) }
  })
}

/** Everything that is known about an identity here, newest events first. */
export async function emergencyReport(context: Context, identity: Identity, eventLimit: number): Promise<JsonObject> {
  const kel = await openOwnLog(identity)
  const duplicities = await identity.log.duplicities()
  const devices = await listDevices(identity, kel)
  const freeze = await readFreeze(context.homeFolder, context.clock)
  const reasons = await readReasons(identity)
  const recent = (events: readonly VerifiedEvent[]): JsonObject[] =>
    eventsJson(events, reasons).slice(-eventLimit).toReversed()
  const evidence = duplicities.map((stream) =>
    checkStream(stream).messages.map(({ said, sn, type }) => ({ said, sn: sn ?? null, type })),
  )
  const besideCurrent = (
    await Promise.all(identity.next.map(async ({ file }) => await isStoredInside(context.homeFolder, file)))
  ).includes(true)
  const last = eventsJson(kel.events, reasons)[kel.state.lastEstablishment.sn]
  const answered =
    last?.['type'] === 'rot' && last['reason'] !== undefined
      ? { sn: kel.state.lastEstablishment.sn, at: last['at'] ?? null, reason: last['reason'] }
      : undefined
  return {
    generated_at: new Date(context.clock()).toISOString(),
    identity_did: `did:keri:${identity.prefix}`,
    state: stateJson(kel.state),
    rotated: answered ?? null,
    recent_events: recent(kel.events),
    superseded: recent(kel.superseded),
    duplicity: evidence,
    devices: devices.map(({ name, did, status, linkedAt }) => ({ name, did, status, linked_at: linkedAt })),
    frozen_until: freeze?.frozenUntil ?? null,
    frozen_reason: freeze?.reason ?? null,
    warnings: [...kel.warnings],
    recommendations: recommendations(identity, {
      duplicity: duplicities.length,
      superseded: kel.superseded.length,
      devicesVoid: devices.filter(({ status }) => status === 'void').length,
      besideCurrent,
      answered,
    }),
  }
}

/** The report for people. */
export function reportText(report: JsonObject): string {
  const list = (name: string): JsonValue[] => (Array.isArray(report[name]) ? report[name] : [])
  const events = list('recent_events').map((event) => {
    const { sn, type, said, reason } = event as JsonObject
    return [String(sn), String(type), String(said), reason === undefined ? '' : String(reason)]
  })
  const { rotated } = report
  return [
    formatTable([
      ['identity', String(report['identity_did'])],
      ['generated', String(report['generated_at'])],
      ['frozen until', String(report['frozen_until'] ?? 'not frozen')],
      [
        'rotated',
        rotated === undefined || rotated === null || !isRecord(rotated)
          ? 'not for a reason that is kept here'
          : `at event ${String(rotated['sn'])}, ${String(rotated['at'])}: ${String(rotated['reason'])}`,
      ],
      ['events', String(events.length)],
      ['superseded', String(list('superseded').length)],
      ['duplicity', String(list('duplicity').length)],
      ['devices', String(list('devices').length)],
    ]),
    '',
    'Last events, newest first:',
    formatTable(events),
    '',
    'To do:',
    ...list('recommendations').map((line) => `  - ${String(line)}`),
  ].join('\n')
}
