import { join } from 'node:path'
import type { OwnKey, RotationPlan } from '@keyturn/noise-keys/owner'
import type { HomeDescription } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readIfThere } from '../records/store.ts'
import type { StoredRoles } from '../records/store.ts'
import { keyDue } from './due.ts'
import type { DueDate } from './due.ts'
import { statusItem } from './status-item.ts'
import type { StatusItem } from './status-item.ts'

const shown: Readonly<Record<string, StatusItem['state']>> = {
  active: 'active',
  next: 'next',
  planned: 'next',
  retiring: 'retiring',
  revoked: 'revoked',
  retired: 'retired',
}

/**
 * The transport identity, and the keys it publishes as their own metadata says: state, when the next one is announced,
 * until when the old one answers.
 *
 * @param home - Open home.
 * @param roles - Its role documents, in order.
 * @param nowMs - Now.
 */
export async function transportItems(
  home: HomeSession,
  roles: readonly StoredRoles[],
  nowMs: number,
): Promise<StatusItem[]> {
  const identity = identityItem(home.description, roles, nowMs)
  const bytes = await readIfThere(join(home.paths.transport, 'keys.json'))
  if (bytes === undefined) return [identity]
  // Loaded here: homes that publish no transport key answer faster without it.
  const [{ parseMetadata, planRotation }, { transportPolicy }] = await Promise.all([
    import('@keyturn/noise-keys/owner'),
    import('../transport/policy.ts'),
  ])
  const metadata = parseMetadata(bytes)
  const plan = planRotation(metadata, transportPolicy(home.description, metadata), Math.floor(nowMs / 1000))
  const retiring = metadata.keys.find(({ state }) => state === 'retiring')
  return [
    identity,
    ...metadata.keys.map((key) =>
      statusItem(
        {
          kind: 'transport',
          id: key.device,
          name: key.publicKey.slice(0, 16),
          state: shown[key.state] ?? 'active',
          sinceMs: (key.activeFromS ?? key.createdAtS) * 1000,
          due: dueOf(key, plan),
          mend: 'keyturn rotate transport --due',
          overlapEndsMs:
            key.state === 'active' || key.state === 'retiring' ? msOf(retiring?.retiringUntilS) : undefined,
        },
        nowMs,
      ),
    ),
  ]
}

/** The next thing that is to be done about a key. */
function dueOf({ device, state }: OwnKey, { steps }: RotationPlan): DueDate | undefined {
  if (state === 'retired' || state === 'revoked') return undefined
  const turning = steps.filter(
    ({ action }) => action === 'announce-next' || action === 'cut-over' || action === 'retire' || action === 'refresh',
  )
  const next = turning.find((step) => step.device === device)
  if (next === undefined) return undefined
  const reminded = steps.some(({ action, due }) => action === 'remind-80' && due)
  return { atMs: next.atS * 1000, state: next.due ? 'due' : reminded && state === 'active' ? 'soon' : 'ok' }
}

function msOf(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000
}

/** The cold identity that they come from: it leaves with a role document, when its seed was lost or stolen. */
function identityItem(description: HomeDescription, roles: readonly StoredRoles[], nowMs: number): StatusItem {
  const { aliases, since } = description
  const name = roles.at(-1)?.document.transport[0] ?? ''
  const noted = since?.[aliases.transportIdentity]
  const first = noted ?? roles.find(({ document }) => document.transport.includes(name))?.document.issuedAt
  const sinceMs = first === undefined ? undefined : Date.parse(first)
  return statusItem(
    {
      kind: 'transport-identity',
      id: aliases.transportIdentity,
      name: name.slice(0, 16),
      mend: 'keyturn rotate transport-identity',
      sinceMs,
      due: sinceMs === undefined ? undefined : keyDue('transportIdentity', sinceMs, description, nowMs),
    },
    nowMs,
  )
}
