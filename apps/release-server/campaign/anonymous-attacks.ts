import { randomBytes } from 'node:crypto'
import { base64Encode } from '@keyturn/primitives'

/** The worst that a caller without a token sends to a route. */
export interface Attack {
  readonly name: string
  /** Routes that it stands for, as the server names them; the public tree and what is not there have none. */
  readonly routes: readonly string[]
  readonly method?: string
  readonly path: string
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: () => Uint8Array | string
}

/** What attacks are made of. */
export interface AnonymousWorld {
  readonly product: string
  /** Version of a release that is offered. */
  readonly version: string
  /** Address of a large blob. */
  readonly blob: string
  /** Log of an identity that nobody here knows, and the longest one that the witness takes. */
  readonly strange: Uint8Array
  readonly short: Uint8Array
  /** Log of an identity of a product, in growing pieces. */
  readonly own: readonly Uint8Array[]
  /** An identity whose statements about devices count, and its log. */
  readonly attester: string
  readonly attested: Uint8Array
  /** A notice that a stranger signed. */
  readonly kill: Uint8Array
}

const z32 = 'y'.repeat(52)
const text = (length: number): string => 'x'.repeat(length)
/** Made once: the callers spend their time on sending. */
const large = new Uint8Array(4 * 1024 * 1024).fill(0x78)

/** A log with one byte of the last signature changed: all of it is verified, and nothing is gained. */
function spoil(bytes: Uint8Array): Uint8Array {
  const spoiled = bytes.slice()
  spoiled[spoiled.length - 10] = (spoiled.at(-10) ?? 0) === 0x41 ? 0x42 : 0x41
  return spoiled
}

/** Bodies that no route reads to their end. */
const unread: readonly Attack[] = [
  { name: 'a body for no route', routes: [], method: 'POST', path: '/nowhere', body: () => large },
  {
    name: 'a large body and a wrong token',
    routes: [],
    method: 'PUT',
    path: `/v1/blobs/${'ab'.repeat(32)}`,
    body: () => large,
  },
]

const pages: readonly Attack[] = [
  { name: 'nothing but /startupz', routes: ['GET /healthz', 'GET /startupz'], path: '/startupz' },
  { name: 'readiness', routes: ['GET /readyz'], path: '/readyz', headers: {} },
  { name: 'figures', routes: ['GET /metrics'], path: '/metrics' },
  { name: 'the description', routes: ['GET /openapi.json'], path: '/openapi.json' },
  { name: 'what uploads can do', routes: ['OPTIONS /v1/uploads'], method: 'OPTIONS', path: '/v1/uploads' },
  {
    name: 'the dashboard',
    routes: [
      'GET /',
      'GET /favicon.ico',
      'GET /dashboard',
      'GET /dashboard/style.css',
      ...['script', 'access', 'audit', 'health', 'releases', 'panels', 'view'].map(
        (name) => `GET /dashboard/${name}.js`,
      ),
    ],
    path: '/dashboard/script.js',
  },
  {
    name: 'sessions that are not there',
    routes: ['GET /dashboard/session'],
    path: '/dashboard/session',
    headers: { cookie: `keyturn_session=${text(43)}` },
  },
  { name: 'logouts', routes: ['POST /dashboard/logout'], method: 'POST', path: '/dashboard/logout' },
]

function logins(): Attack {
  return {
    name: 'logins',
    routes: ['POST /dashboard/login'],
    method: 'POST',
    path: '/dashboard/login',
    type: 'application/json',
    body: () => JSON.stringify({ token: text(1000) }),
  }
}

function treeAttacks({ blob }: AnonymousWorld): readonly Attack[] {
  const ranges = Array.from({ length: 400 }, (_, at) => `${at * 10}-${16_000_000 - at}`).join(',')
  return [
    { name: 'the largest document', routes: [], path: '/manifest.json' },
    { name: 'a path with every trick', routes: [], path: `/files/${'%2e%2e%2f'.repeat(400)}` },
    { name: 'a large blob', routes: [], path: blob },
    { name: 'many ranges of a large blob', routes: [], path: blob, headers: { range: `bytes=${ranges}` } },
  ]
}

function reports({ product, version }: AnonymousWorld): readonly Attack[] {
  const report = { routes: ['POST /v1/reports'], method: 'POST', path: '/v1/reports', type: 'application/json' }
  return [
    { ...report, name: 'deep JSON', body: () => `${'['.repeat(2000)}${']'.repeat(2000)}` },
    {
      ...report,
      name: 'reports of a release',
      body: () =>
        JSON.stringify({
          product,
          channel: 'stable',
          version,
          result: 'failed',
          code: `A${randomBytes(12).toString('hex').toUpperCase()}`,
        }),
    },
  ]
}

function witnessAttacks({ strange, short, own }: AnonymousWorld): readonly Attack[] {
  let shown = 0
  const longest = own.at(-1) ?? strange
  const spoiled = spoil(longest)
  const routes = ['POST /witness/receipts']
  return [
    ...[
      { name: 'a log of a stranger that is too long', body: () => strange },
      { name: 'the longest log of a stranger', body: () => short },
      { name: 'the longest log of our own', body: () => own[shown++ % own.length] ?? longest },
      { name: 'that log with a wrong signature', body: () => spoiled },
    ].map((each) => ({ routes, method: 'POST', path: '/witness/receipts', type: 'application/cesr', ...each })),
    {
      name: 'receipts of nobody',
      routes: ['GET /witness', 'GET /witness/receipts'],
      path: `/witness/receipts?pre=${'E'.repeat(44)}&sn=1`,
    },
    {
      name: 'checkpoints of logs',
      routes: ['POST /log-witness/add-checkpoint'],
      method: 'POST',
      path: '/log-witness/add-checkpoint',
      type: 'text/plain',
      body: () => `old 0\n${`${randomBytes(32).toString('base64')}\n`.repeat(60)}\nname\n1\n${text(4000)}\n`,
    },
    {
      name: 'a checkpoint that is not there',
      routes: ['GET /log-witness', 'GET /log-witness/:hash/checkpoint'],
      path: `/log-witness/${'ab'.repeat(32)}/checkpoint`,
    },
  ]
}

function keyAttacks({ product, attester, attested, kill }: AnonymousWorld): readonly Attack[] {
  const statement = (prefix: string, shown: Uint8Array): string =>
    JSON.stringify({
      prefix,
      document: base64Encode(randomBytes(8000)),
      statement: base64Encode(randomBytes(8000)),
      log: base64Encode(shown),
    })
  const spoiled = spoil(attested)
  return [
    {
      name: 'packets for the relay',
      routes: ['PUT /pkarr/:z32'],
      method: 'PUT',
      path: `/pkarr/${z32}`,
      type: 'application/pkarr.org/relays#payload',
      body: () => randomBytes(1072),
    },
    {
      name: 'packets and keys that are not there',
      routes: ['pkarr/:z32', 'pubky/:z32/pub/noise.app/v0/:device', 'pubky/:z32/pub/noise.app/v1/keys'].flatMap((url) =>
        ['GET', 'HEAD'].map((method) => `${method} /${url}`),
      ),
      path: `/pubky/${z32}/pub/noise.app/v1/keys`,
    },
    { name: 'what the relay allows', routes: ['OPTIONS /pkarr/:z32'], method: 'OPTIONS', path: `/pkarr/${z32}` },
    {
      name: 'key exchanges',
      routes: ['POST /noise/runtime-key'],
      method: 'POST',
      path: '/noise/runtime-key',
      type: 'application/octet-stream',
      body: () => randomBytes(145),
    },
    ...[
      { name: 'statements about devices', prefix: 'E'.repeat(44), shown: attested },
      { name: 'statements about devices of a listed identity', prefix: attester, shown: spoiled },
    ].map(({ name, prefix, shown }) => ({
      name,
      routes: ['POST /v1/products/:p/devices::attest'],
      method: 'POST',
      path: `/v1/products/${product}/devices:attest`,
      type: 'application/json',
      body: () => statement(prefix, shown),
    })),
    {
      name: 'kill notices of strangers',
      routes: ['POST /v1/products/:p/kills'],
      method: 'POST',
      path: `/v1/products/${product}/kills`,
      type: 'application/octet-stream',
      body: () => kill,
    },
  ]
}

/** Everything that somebody without a token can send, at its worst. */
export function anonymousAttacks(world: AnonymousWorld): readonly Attack[] {
  return [
    ...pages,
    ...treeAttacks(world),
    ...unread,
    ...reports(world),
    ...witnessAttacks(world),
    ...keyAttacks(world),
    logins(),
  ]
}
