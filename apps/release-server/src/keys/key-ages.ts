import { timestamp } from '../time.ts'
import { parseManifest, parseRoles } from '@keyturn/manifest'
import type { RoleDocument } from '@keyturn/manifest'
import { parseIdentityName } from '@keyturn/noise-keys'
import { KeyFloors, lookUpKeys } from '@keyturn/noise-keys/reader'
import type { KeyVerdict } from '@keyturn/noise-keys/reader'
import { hexEncode } from '@keyturn/primitives'
import type { KeyAgeView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { keyFiles, ownDirectory } from './key-files.ts'
import { RECORD_PATH } from './key-paths.ts'
import { readProduct, viewProduct } from '../releases/products.ts'
import { documentKey, documents } from '../public/documents.ts'
import { channelsOf } from '../releases/channels.ts'
import { contentKeySeenMs, readManifestBytes } from '../releases/releases.ts'

const DAY_MS = 86_400_000
/** Share of its life after which a rotation is announced. */
const SOON_SHARE = 0.8

/** Days a key may be in force before its rotation is due: the defaults of `keyturn status`. */
const KEY_POLICY_DAYS = { identity: 365, release: 180, head: 90, content: 180, transport: 365 } as const

type Kind = KeyAgeView['kind']

interface Sight {
  readonly nowMs: number
  /** Whether the caller may see a channel. */
  readonly maySee: (channel: string) => boolean
}

interface Known {
  readonly name: string
  readonly owner: string | null
  readonly state: KeyAgeView['state']
  readonly sinceMs: number | undefined
  readonly untilMs?: number | undefined
}

/** The age of a key and its dates. Only a key in force is ever due. */
function aged(kind: Kind, { name, owner, state, sinceMs, untilMs }: Known, nowMs: number): KeyAgeView {
  const life = KEY_POLICY_DAYS[kind] * DAY_MS
  const dueMs = sinceMs === undefined || state !== 'active' ? undefined : sinceMs + life
  const soonMs = sinceMs === undefined ? 0 : sinceMs + life * SOON_SHARE
  return {
    kind,
    name,
    owner,
    state,
    since: sinceMs === undefined ? null : timestamp(sinceMs),
    age_days: sinceMs === undefined ? null : Math.max(0, Math.floor((nowMs - sinceMs) / DAY_MS)),
    due: dueMs === undefined ? null : timestamp(dueMs),
    due_state: dueMs === undefined ? null : nowMs >= dueMs ? 'due' : nowMs >= soonMs ? 'soon' : 'ok',
    until: untilMs === undefined ? null : timestamp(untilMs),
  }
}

/** Role documents that were ever in force, oldest first. */
async function allRoles(context: ServerContext, product: string): Promise<RoleDocument[]> {
  const prefix = documentKey(product, undefined, 'roles/')
  const found = await documents.all(context.metadata, { prefix, bodies: true })
  return found
    .flatMap(({ body }) => (body === undefined ? [] : [parseRoles(body)]))
    .toSorted((a, b) => a.version - b.version)
}

function roleKeys(roles: readonly RoleDocument[], nowMs: number): KeyAgeView[] {
  const inForce = roles.at(-1)
  if (inForce === undefined) return []
  return (['release', 'head'] as const).flatMap((kind) =>
    inForce.roles[kind].keys.map((name) => {
      const first = roles.find((document) => document.roles[kind].keys.includes(name)) ?? inForce
      return aged(kind, { name, owner: null, state: 'active', sinceMs: Date.parse(first.issuedAt) }, nowMs)
    }),
  )
}

/** Content keys as the offered manifests list them; their age counts from the first draft that named them. */
async function contentKeys(context: ServerContext, product: string, { nowMs, maySee }: Sight): Promise<KeyAgeView[]> {
  const found = new Map<number, KeyAgeView>()
  for (const { channel, manifest } of await channelsOf(context.metadata, product)) {
    if (manifest === null || !maySee(channel)) continue
    for (const { keyId, status } of parseManifest(await readManifestBytes(context, manifest)).contentKeys) {
      if (found.get(keyId)?.state === 'revoked') continue
      const sinceMs = await contentKeySeenMs(context.metadata, product, keyId)
      found.set(keyId, aged('content', { name: String(keyId), owner: null, state: status, sinceMs }, nowMs))
    }
  }
  return [...found].toSorted(([one], [other]) => other - one).map(([, view]) => view)
}

const TRANSPORT_STATES: Readonly<Partial<Record<KeyVerdict['verdict'], KeyAgeView['state']>>> = {
  ok: 'active',
  legacy: 'active',
  next: 'next',
  retiring: 'retiring',
  retired: 'retired',
  revoked: 'revoked',
}

async function transportKeys(
  context: ServerContext,
  identities: readonly string[],
  nowMs: number,
): Promise<KeyAgeView[]> {
  const views: KeyAgeView[] = []
  for (const identity of identities) {
    const verdicts = await lookUpKeys(ownDirectory(context.metadata), parseIdentityName(identity), new KeyFloors(), {
      nowS: Math.floor(nowMs / 1000),
    })
    for (const { device, publicKey, verdict, untilS } of verdicts) {
      const file = await keyFiles.get(context.metadata, `${identity}${RECORD_PATH}${device}`)
      const name = publicKey === undefined ? device : `${device} ${hexEncode(publicKey).slice(0, 16)}`
      const until = untilS === undefined ? {} : { untilMs: untilS * 1000 }
      views.push(
        aged(
          'transport',
          { name, owner: identity, state: TRANSPORT_STATES[verdict] ?? 'unusable', sinceMs: file?.first_ms, ...until },
          nowMs,
        ),
      )
    }
  }
  return views
}

/** Keys of a product that the server knows about, their age and when their rotation is due. */
export async function keyAges(
  context: ServerContext,
  product: string,
  maySee: (channel: string) => boolean,
): Promise<KeyAgeView[]> {
  await readProduct(context.metadata, product)
  const now = context.clock()
  const roles = await allRoles(context, product)
  const { log } = await viewProduct(context.metadata, product)
  // Role documents are sealed by inceptions and rotations alone, so the newest one is as old as the identity's key.
  const sinceMs = roles.at(-1)?.issuedAt
  const identity =
    log === null
      ? []
      : [
          aged(
            'identity',
            {
              name: `event ${log.sn}`,
              owner: null,
              state: 'active',
              sinceMs: sinceMs === undefined ? undefined : Date.parse(sinceMs),
            },
            now,
          ),
        ]
  return [
    ...(await contentKeys(context, product, { nowMs: now, maySee })),
    ...(await transportKeys(context, roles.at(-1)?.transport ?? [], now)),
    ...roleKeys(roles, now),
    ...identity,
  ]
}
