import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import type { ServerConfig } from './config.ts'
import { ServerError } from './errors.ts'
import { unixHeadSigner } from './head-signer/client.ts'
import type { Stores } from './storage/migrate.ts'
import { parseOidcRules } from './access/oidc.ts'
import type { OidcRule } from './access/oidc.ts'
import type { ServerLog } from './context.ts'
import { jsonLog, silentLog } from './ops/log.ts'
import type { ReleaseServerOptions } from './server.ts'
import type { LogMonitorSettings } from './tlog/log-monitor.ts'
import type { LogWitnessSettings } from './tlog/log-witness.ts'
import type { ReleaseLogSettings } from './tlog/release-log.ts'
import { parsePolicy } from '@keyturn/tlog'
import type { Policy } from '@keyturn/tlog'
import { openFolderBlobStore } from './storage/folder-blob-store.ts'
import { openPostgresMetadataStore } from './storage/postgres-metadata-store.ts'
import { openS3BlobStore } from './storage/s3-blob-store.ts'
import { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'

const DAY_MS = 86_400_000

/** How stores are opened. */
export interface OpenOptions {
  /**
   * `create` makes what is missing; `require` refuses it, so that a mistyped folder is not mistaken for an empty
   * server.
   */
  readonly missing: 'create' | 'require'
}

const METADATA_FILE = 'metadata.sqlite'

async function requireData(dataDir: string): Promise<void> {
  if (await pathExists(join(dataDir, METADATA_FILE))) return
  throw new ServerError('SRV_CONFIG', `Cannot open the data folder "${dataDir}": there is no ${METADATA_FILE} in it`, {
    hint: 'Check --data or KEYTURN_DATA_DIR; a new server is made by "serve" or "token create"',
  })
}

/** Opens the stores that the settings name. */
export async function storesFromConfig(config: ServerConfig, { missing }: OpenOptions): Promise<Stores> {
  if (missing === 'require' && config.databaseUrl === undefined) await requireData(config.dataDir)
  const embedded = config.databaseUrl === undefined || config.s3Url === undefined
  if (embedded && missing === 'create') await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  const metadata =
    config.databaseUrl === undefined
      ? openSqliteMetadataStore(join(config.dataDir, METADATA_FILE))
      : await openPostgresMetadataStore(config.databaseUrl)
  const blobs =
    config.s3Url === undefined
      ? await openFolderBlobStore(join(config.dataDir, 'blobs'))
      : openS3BlobStore({
          url: config.s3Url,
          region: config.s3Region,
          accessKey: config.s3AccessKey ?? '',
          secretKey: config.s3SecretKey ?? '',
        })
  return { blobs, metadata }
}

/** Options of a command that works on the stores without serving: no vault, no head signer, no issuer. */
export async function localOptions(config: ServerConfig, open: OpenOptions): Promise<ReleaseServerOptions> {
  return { ...(await storesFromConfig(config, open)), log: logOf(config) }
}

function logOf(config: ServerConfig): ServerLog {
  return config.logRequests ? jsonLog((line) => process.stderr.write(line), systemClock) : silentLog
}

async function passphraseOf(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ServerError('SRV_CONFIG', `Cannot read the passphrase file "${path}"`, { cause })
  })
  const line = text.split('\n')[0] ?? ''
  if (line === '') throw new ServerError('SRV_CONFIG', `Cannot use the passphrase file "${path}": it is empty`)
  return line
}

/** Turns settings into the options of a server: opens the stores they name, reads the files they name. */
export async function optionsFromConfig(config: ServerConfig): Promise<ReleaseServerOptions> {
  const { oidcIssuer, oidcAudience, oidcRules, accelPrefix, passphraseFile, headSigner } = config
  return {
    ...(await storesFromConfig(config, { missing: 'create' })),
    host: config.host,
    port: config.port,
    drainMs: config.drainSeconds * 1000,
    rates: { trustProxy: config.trustProxy },
    log: logOf(config),
    upkeep: {
      garbageEveryMs: DAY_MS,
      scrubEveryMs: 7 * DAY_MS,
      keepWhole: config.keepWhole === 0 ? undefined : config.keepWhole,
    },
    publicUrl: config.publicUrl,
    metricsToken: config.metricsToken,
    offload: accelPrefix === undefined ? undefined : { kind: 'accel', prefix: accelPrefix },
    vault: passphraseFile === undefined ? undefined : { passphrase: await passphraseOf(passphraseFile) },
    headSigner: headSigner === undefined ? undefined : unixHeadSigner(headSigner),
    releaseLog: await releaseLogOf(config),
    logWitness: await logWitnessOf(config),
    logMonitor: await logMonitorOf(config),
    oidc:
      oidcIssuer === undefined
        ? undefined
        : { issuer: oidcIssuer, audience: oidcAudience ?? '', rules: await rulesOf(oidcRules ?? '') },
  }
}

async function policyOf(path: string, variable: string): Promise<Policy> {
  try {
    return parsePolicy(await readFile(path))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ServerError('SRV_CONFIG', `Cannot use setting ${variable}: ${why}`, { cause })
  }
}

const NOBODY: Policy = { logs: [], witnesses: [], groups: [], quorum: 'none' }

async function releaseLogOf({ logOrigin, logPolicy }: ServerConfig): Promise<ReleaseLogSettings | undefined> {
  if (logOrigin === undefined) return undefined
  const policy = logPolicy === undefined ? NOBODY : await policyOf(logPolicy, 'KEYTURN_LOG_POLICY_FILE')
  return { origin: logOrigin, policy }
}

async function logWitnessOf({ witnessName, witnessLogs }: ServerConfig): Promise<LogWitnessSettings | undefined> {
  if (witnessName === undefined) return undefined
  const { logs } = witnessLogs === undefined ? NOBODY : await policyOf(witnessLogs, 'KEYTURN_WITNESS_LOGS_FILE')
  return { name: witnessName, logs }
}

async function logMonitorOf({ monitorPolicy, monitorWebhook }: ServerConfig): Promise<LogMonitorSettings | undefined> {
  if (monitorPolicy === undefined) return undefined
  const policy = await policyOf(monitorPolicy, 'KEYTURN_MONITOR_POLICY_FILE')
  if (policy.logs.length === 0 || policy.logs.some(({ url }) => url === undefined))
    throw new ServerError(
      'SRV_CONFIG',
      'Cannot use setting KEYTURN_MONITOR_POLICY_FILE: expected log lines, each with the address of its log',
    )
  return { policy, webhook: monitorWebhook }
}

async function rulesOf(path: string): Promise<readonly OidcRule[]> {
  const content = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ServerError('SRV_CONFIG', `Cannot read the OIDC rules "${path}"`, { cause })
  })
  return parseOidcRules(content)
}
