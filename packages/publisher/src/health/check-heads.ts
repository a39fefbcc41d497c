import { isRecord, KeyturnError, parseStrictJson } from '@keyturn/primitives'
import { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { readStoredHead } from '../records/heads.ts'
import { readKnownHeads } from '../records/verified-head.ts'
import type { RestFinding } from './check-rest.ts'
import { headItem } from './collect-status.ts'
import type { HomeStatus } from './collect-status.ts'

const HEAD_DOCUMENT = 'head-document'
const MAX_HEALTH_BYTES = 1024 * 1024

/** Whether a head signer is connected to a server; undefined when the server does not say. */
export async function hasHeadSigner(client: ReleaseServerClient): Promise<boolean | undefined> {
  const bytes = await client.fetchPublic('/readyz', { maxBytes: MAX_HEALTH_BYTES })
  if (bytes === undefined) return undefined
  const report = parseStrictJson(bytes, { maxBytes: MAX_HEALTH_BYTES })
  const checks = isRecord(report) && Array.isArray(report['checks']) ? report['checks'] : []
  const check = checks.find((entry) => isRecord(entry) && entry['name'] === 'head-signer')
  return isRecord(check) ? String(check['detail']).startsWith('connected') : undefined
}

/**
 * Compares the heads of the home with those of the server. A newer one of the server that is verified was made by the
 * head signer, or on another machine of the publisher: nothing is wrong with that.
 */
export async function checkServerHeads(home: HomeSession, client: ReleaseServerClient): Promise<RestFinding[]> {
  const findings: RestFinding[] = []
  const warn = (message: string, fix: string): void => void findings.push({ level: 'warning', message, fix })
  for (const { channel, head } of await client.listChannels(home.description.product)) {
    const shown = head?.sequence ?? 0
    const own = (await readStoredHead(home.paths, channel))?.head.sequence ?? 0
    if (shown === own) continue
    const { server, refused } = await readKnownHeads(home, channel, client)
    if (refused !== undefined)
      warn(`Channel ${channel}: the head of the server does not count: ${refused}`, 'keyturn release verify-public')
    else if (server === undefined || server.head.sequence < own)
      warn(`Channel ${channel}: the server is at head ${shown}, the home at ${own}`, 'keyturn release publish')
  }
  return findings
}

/** What the server adds to what is due. */
export interface HeadsNow {
  readonly status: HomeStatus
  /** Said when heads end soon and nobody renews them; undefined otherwise. */
  readonly warning: string | undefined
}

/**
 * Looks whether heads that seem due were renewed on the server meanwhile, by a head signer or another machine. Only a
 * head that is verified counts; a server that does not answer changes nothing.
 *
 * @param status - From `collectStatus`.
 * @param client - Default: the server of the home, asked without a token and once.
 */
export async function withServerHeads(
  home: HomeSession,
  status: HomeStatus,
  nowMs: number,
  client = clientOf(home),
): Promise<HeadsNow> {
  const isDue = ({ kind, due_state }: HomeStatus['items'][number]): boolean =>
    kind === HEAD_DOCUMENT && due_state !== 'ok'
  if (client === undefined || !status.items.some(isDue)) return { status, warning: undefined }
  try {
    const items = await Promise.all(
      status.items.map(async (item) => {
        const base = isDue(item) ? (await readKnownHeads(home, item.id, client)).base : undefined
        return base === undefined ? item : headItem(item.id, base.head.expiresAt, base.head.sequence, nowMs)
      }),
    )
    const ending = items.filter(isDue).map(({ id }) => id)
    const warning =
      ending.length > 0 && (await hasHeadSigner(client)) === false
        ? `Heads of ${ending.join(', ')} end within 3 days, and no head signer is connected`
        : undefined
    return { status: { ...status, items }, warning }
  } catch (error) {
    if (error instanceof KeyturnError) return { status, warning: undefined }
    throw error
  }
}

function clientOf({ description }: HomeSession): ReleaseServerClient | undefined {
  return description.server === undefined ? undefined : new ReleaseServerClient(description.server, { retries: 0 })
}
