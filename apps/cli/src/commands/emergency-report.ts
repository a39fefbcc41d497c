import { fileLog } from '@keyturn/kel/node'
import { checkStream, type VerifiedEvent } from '@keyturn/kel'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { Context } from '../command.ts'
import { formatTable } from '../output.ts'
import { listDevices } from './device-store.ts'
import { readFreeze } from './emergency-freeze.ts'
import { openOwnLog, type Identity } from './id-identity.ts'
import { eventJson, stateJson } from './id-json.ts'

function recommendations(identity: Identity, facts: { duplicity: number; superseded: number; devicesVoid: number; besideCurrent: boolean }): string[] {
  return [
    ...(facts.duplicity > 0 ? ['Two signed events claim one place: keep the evidence, publish it, and rotate'] : []),
    ...(facts.superseded > 0 ? ['Interactions were superseded by a rotation: look at what they sealed'] : []),
    ...(facts.devicesVoid > 0 ? ['Link the devices again that the rotation made void: keyturn device link'] : []),
    ...(facts.besideCurrent ? [`Move the next key away from the current one: ${identity.next.map(({ file }) => file).join(', ')}`] : []),
    'If the current key may be known to somebody else: keyturn emergency rotate-now',
  ]
}

/** Everything that is known about an identity here, newest events first. */
export async function emergencyReport(context: Context, identity: Identity, eventLimit: number): Promise<JsonObject> {
  const kel = await openOwnLog(identity)
  const duplicities = await fileLog(identity.logPath).duplicities()
  const devices = await listDevices(identity, kel)
  const freeze = await readFreeze(context.homeFolder, context.clock)
  const recent = (events: readonly VerifiedEvent[]): JsonValue => events.slice(-eventLimit).toReversed().map(eventJson)
  const evidence = duplicities.map((stream) => checkStream(stream).messages.map(({ said, sn, type }) => ({ said, sn: sn ?? null, type })))
  const besideCurrent = identity.next.some(({ file }) => file.startsWith(context.homeFolder))
  return {
    generated_at: new Date(context.clock()).toISOString(), identity_did: `did:keri:${identity.prefix}`,
    state: stateJson(kel.state), recent_events: recent(kel.events), superseded: recent(kel.superseded), duplicity: evidence,
    devices: devices.map(({ name, did, status, linkedAt }) => ({ name, did, status, linked_at: linkedAt })),
    frozen_until: freeze?.frozenUntil ?? null, warnings: [...kel.warnings],
    recommendations: recommendations(identity, {
      duplicity: duplicities.length, superseded: kel.superseded.length, devicesVoid: devices.filter(({ status }) => status === 'void').length, besideCurrent,
    }),
  }
}

/** The report for people. */
export function reportText(report: JsonObject): string {
  const list = (name: string): JsonValue[] => (Array.isArray(report[name]) ? report[name] : [])
  const events = list('recent_events').map((event) => {
    const { sn, type, said } = event as JsonObject
    return [String(sn), String(type), String(said)]
  })
  return [
    formatTable([
      ['identity', String(report['identity_did'])], ['generated', String(report['generated_at'])],
      ['frozen until', String(report['frozen_until'] ?? 'not frozen')],
      ['events', String(events.length)], ['superseded', String(list('superseded').length)],
      ['duplicity', String(list('duplicity').length)], ['devices', String(list('devices').length)],
    ]),
    '', 'Last events, newest first:', formatTable(events), '', 'To do:',
    ...list('recommendations').map((line) => `  - ${String(line)}`),
  ].join('\n')
}
