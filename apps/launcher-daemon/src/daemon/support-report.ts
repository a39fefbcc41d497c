import { lookup } from 'node:dns/promises'
import { lstat, open, readdir, statfs } from 'node:fs/promises'
import { arch, cpus, freemem, platform, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { formatBytes, printable } from '@keyturn/primitives'
import { launcherVersion, updatesFolder } from '@keyturn/install-engine'
import type { EngineStatus, Fetch, Settings } from '@keyturn/install-engine'
import { isMetered } from './metered.ts'
import { privateNames, redact } from './redact.ts'
import type { Private } from './redact.ts'

/** What a report is made from. */
export interface ReportInput {
  readonly folder: string
  readonly settings: Settings & { readonly server: string }
  /** `undefined` before a folder is chosen. */
  readonly status: EngineStatus | undefined
  /** The studio's launcher, where this is one. */
  readonly launcher?: { readonly name: string; readonly version: string } | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly fetch?: Fetch | undefined
  readonly now: Date
  readonly names?: Private | undefined
}

/** The end of the log is what matters; so much of it goes into a report. */
const LOG_BYTES = 256 * 1024
/** The network is asked this long. */
const NETWORK_MS = 5_000
/** Names of the launcher's own files that are listed, at most. */
const MAX_NAMES = 200

/** Settings that say nothing secret; of every other one only the name is shown. */
const SHOWN_SETTINGS: ReadonlySet<string> = new Set([
  'product',
  'channel',
  'target',
  'delivery',
  'limit',
  'backgroundLimit',
  'pauseWhilePlaying',
  'downloadHours',
  'askAbove',
  'reports',
  'groups',
  'components',
  'lowSpace',
  'language',
  'runtimeKeyCache',
  'checkMinutes',
])

type Facts = readonly (readonly [name: string, value: string | number | boolean | undefined])[]

function section(title: string, facts: Facts): string {
  const lines = facts.filter(([, value]) => value !== undefined)
  return [`[${title}]`, ...lines.map(([name, value]) => `${name}: ${printable(String(value), 2000)}`), ''].join('\n')
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'not an address'
}

/** What one step came to, with its time; a failure is a fact like any other. */
async function timed(step: () => Promise<string>): Promise<string> {
  const begun = performance.now()
  const said = await step().catch((error: unknown) => {
    const { code = '', message = String(error) } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
    return `failed: ${code === '' ? message : code}`
  })
  return `${said} (${Math.round(performance.now() - begun)} ms)`
}

async function network({ settings, fetch, env, now }: ReportInput): Promise<Facts> {
  const { hostname, protocol } = URL.canParse(settings.server)
    ? new URL(settings.server)
    : { hostname: '', protocol: '' }
  let clock = 'unknown'
  const answer = await timed(async () => {
    const ask: Fetch = fetch ?? globalThis.fetch
    const response = await ask(new URL('/healthz', settings.server).href, {
      redirect: 'manual',
      signal: AbortSignal.timeout(NETWORK_MS),
    })
    const date = Date.parse(response.headers.get('date') ?? '')
    if (!Number.isNaN(date)) clock = `${Math.round((now.getTime() - date) / 1000)} s ahead of the server`
    await response.body?.cancel()
    return `status ${response.status}`
  })
  const found = await timed(async () => {
    const addresses = await lookup(hostname.replace(/^\[|\]$/g, ''), { all: true })
    const families = [...new Set(addresses.map(({ family }) => family))].join(' and ')
    return `${addresses.length} addresses, families ${families}`
  })
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'].filter(
    (name) => (env[name] ?? env[name.toLowerCase()] ?? '') !== '',
  )
  return [
    ['server', hostOf(settings.server)],
    ['protocol', protocol.replace(':', '')],
    ['name of the server', found],
    ['answer of the server', answer],
    ['clock', clock],
    ['proxies set', proxies.length === 0 ? 'none' : proxies.join(', ')],
    ['metered', String((await isMetered(env)) ?? 'unknown')],
  ]
}

async function disk(folder: string): Promise<Facts> {
  try {
    const { bavail, blocks, bsize, type } = await statfs(folder)
    const { mode, uid } = await lstat(folder)
    return [
      ['free', formatBytes(bavail * bsize)],
      ['size', formatBytes(blocks * bsize)],
      ['file system', `0x${type.toString(16)}`],
      ['mode', (mode & 0o777).toString(8)],
      ['belongs to this user', process.getuid === undefined ? undefined : uid === process.getuid()],
    ]
  } catch (error) {
    return [['cannot be read', (error as NodeJS.ErrnoException).code ?? 'failed']]
  }
}

/** Names and sizes of the launcher's own files; never what is in them. */
async function ownFiles(folder: string): Promise<Facts> {
  const updates = join(folder, updatesFolder)
  const names = (await readdir(updates, { recursive: true }).catch(() => [])).toSorted().slice(0, MAX_NAMES)
  const facts: [string, string][] = []
  for (const name of names) {
    const found = await lstat(join(updates, name)).catch(() => undefined)
    if (found?.isFile() === true) facts.push([name, formatBytes(found.size)])
  }
  return facts
}

async function logEnd(folder: string): Promise<string> {
  try {
    const file = await open(join(folder, updatesFolder, 'launcher.log'), 'r')
    try {
      const { size } = await file.stat()
      const bytes = new Uint8Array(Math.min(size, LOG_BYTES))
      await file.read(bytes, 0, bytes.length, size - bytes.length)
      const lines = new TextDecoder().decode(bytes).split('\n')
      return (size > bytes.length ? lines.slice(1) : lines).map((line) => printable(line, 2000)).join('\n')
    } finally {
      await file.close()
    }
  } catch {
    return '(there is no log)'
  }
}

function settingFacts(settings: Settings): Facts {
  return Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, SHOWN_SETTINGS.has(name) ? JSON.stringify(value) : 'set'])
}

function statusFacts(status: EngineStatus): Facts {
  const { version, sequence, trust, reason, refused, offered, state, confirmed, failedStarts, unfinished, paused } =
    status
  return [
    ['version', version ?? 'none'],
    ['sequence', sequence],
    ['newest known', offered],
    ['trust', trust],
    ['reason', reason === undefined ? undefined : `${reason.code} ${reason.message}`],
    ['last refusal', refused === undefined ? undefined : `${refused.at} ${refused.code} ${refused.message}`],
    ['state', state],
    ['started well', confirmed],
    ['failed starts', failedStarts],
    ['unfinished', unfinished],
    ['paused', paused],
    ['components', status.components.map(({ name, isChosen }) => `${name} ${isChosen ? 'yes' : 'no'}`).join(', ')],
  ]
}

function launcherFacts({ launcher, now }: ReportInput): Facts {
  return [
    ['made at', now.toISOString()],
    ['launcher', launcher === undefined ? undefined : `${launcher.name} ${launcher.version}`],
    ['engine', launcherVersion],
    ['node', process.versions.node],
    ['system', `${platform()} ${release()} ${arch()}`],
    ['processors', cpus().length],
    ['memory', `${formatBytes(freemem())} free of ${formatBytes(totalmem())}`],
    ['language', Intl.DateTimeFormat().resolvedOptions().locale],
  ]
}

/**
 * A report for the studio's support: versions, state, disk, network and the end of the log, in plain text. Settings and
 * files are named, and only what is listed as harmless is shown; all of it goes through {@link redact}.
 */
export async function supportReport(input: ReportInput): Promise<string> {
  const { folder, settings, status } = input
  const parts = [
    'A report for support. It holds no passwords, keys, tokens or names. Read it before you send it.\n',
    section('launcher', launcherFacts(input)),
    section('game', [['folder', folder], ...(status === undefined ? [] : statusFacts(status))]),
    section('settings', settingFacts(settings)),
    section('disk', await disk(folder)),
    section('network', await network(input)),
    section('files of the launcher', await ownFiles(folder)),
    `[log]\n${await logEnd(folder)}\n`,
  ]
  return redact(parts.join('\n'), input.names ?? privateNames())
}
