import { readFile } from 'node:fs/promises'
import { parseStrictJson } from '@keyturn/primitives'
import { ServerError } from './errors.ts'

/** Settings of `keyturn-server`, from environment or one file. */
export interface ServerConfig {
  readonly dataDir: string
  readonly host: string
  readonly port: number
  /** Address under which the world sees the server; default: what it listens on. */
  readonly publicUrl: string | undefined
  /** `postgres://…`; without it SQLite in `dataDir`. */
  readonly databaseUrl: string | undefined
  /** `https://host/bucket/prefix`; without it a folder in `dataDir`. */
  readonly s3Url: string | undefined
  readonly s3Region: string
  readonly s3AccessKey: string | undefined
  readonly s3SecretKey: string | undefined
  readonly trustProxy: boolean
  readonly accelPrefix: string | undefined
  readonly metricsToken: string | undefined
  readonly passphraseFile: string | undefined
  readonly headSigner: string | undefined
  /** Name under which the logs of releases are known; without it the server keeps none. */
  readonly logOrigin: string | undefined
  readonly logPolicy: string | undefined
  /** Name of the witness that this server is for others. */
  readonly witnessName: string | undefined
  readonly witnessLogs: string | undefined
  readonly monitorPolicy: string | undefined
  readonly monitorWebhook: string | undefined
  readonly oidcIssuer: string | undefined
  readonly oidcAudience: string | undefined
  readonly oidcRules: string | undefined
  /** Newest releases of each channel whose files stay whole; 0: all. */
  readonly keepWhole: number
  readonly drainSeconds: number
  readonly logRequests: boolean
}

/** Every setting: its variable and what it means. */
export const settings: readonly {
  readonly name: keyof ServerConfig
  readonly variable: string
  readonly meaning: string
}[] = [
  { name: 'dataDir', variable: 'KEYTURN_DATA_DIR', meaning: 'Folder of the embedded stores (default ./keyturn-data)' },
  { name: 'host', variable: 'KEYTURN_HOST', meaning: 'Address to listen on (default 127.0.0.1)' },
  { name: 'port', variable: 'KEYTURN_PORT', meaning: 'Port to listen on (default 8787)' },
  { name: 'publicUrl', variable: 'KEYTURN_PUBLIC_URL', meaning: 'Address under which the world sees the server' },
  {
    name: 'databaseUrl',
    variable: 'KEYTURN_DATABASE_URL',
    meaning: 'postgres://… for many replicas; default: SQLite in the data folder',
  },
  {
    name: 's3Url',
    variable: 'KEYTURN_S3_URL',
    meaning: 'http(s)://host/bucket[/prefix] for many replicas; default: a folder',
  },
  { name: 's3Region', variable: 'KEYTURN_S3_REGION', meaning: 'Region of the bucket (default us-east-1)' },
  { name: 's3AccessKey', variable: 'KEYTURN_S3_ACCESS_KEY', meaning: 'Access key of the bucket' },
  {
    name: 's3SecretKey',
    variable: 'KEYTURN_S3_SECRET_KEY_FILE',
    meaning: 'File that holds the secret key of the bucket',
  },
  { name: 'trustProxy', variable: 'KEYTURN_TRUST_PROXY', meaning: 'true: a proxy in front sets X-Forwarded-For' },
  {
    name: 'accelPrefix',
    variable: 'KEYTURN_ACCEL_PREFIX',
    meaning: 'Internal location from which nginx sends blobs itself',
  },
  {
    name: 'metricsToken',
    variable: 'KEYTURN_METRICS_TOKEN_FILE',
    meaning: 'File that holds the bearer token for /metrics',
  },
  {
    name: 'passphraseFile',
    variable: 'KEYTURN_PASSPHRASE_FILE',
    meaning: 'File that holds the passphrase of the vault (runtime keys, transport keys)',
  },
  { name: 'headSigner', variable: 'KEYTURN_HEAD_SIGNER', meaning: 'Unix socket of the head signer' },
  {
    name: 'logOrigin',
    variable: 'KEYTURN_LOG_ORIGIN',
    meaning: 'Host name under which a public log of releases is kept: updates.example.org (needs the vault)',
  },
  {
    name: 'logPolicy',
    variable: 'KEYTURN_LOG_POLICY_FILE',
    meaning: 'Policy file (c2sp.org/tlog-policy) with the witnesses that sign the log, and their addresses',
  },
  {
    name: 'witnessName',
    variable: 'KEYTURN_WITNESS_NAME',
    meaning:
      'Name of the witness that this server is for logs of others: updates.example.org/witness (needs the vault)',
  },
  {
    name: 'witnessLogs',
    variable: 'KEYTURN_WITNESS_LOGS_FILE',
    meaning: 'Policy file whose log lines name the logs that it signs for',
  },
  {
    name: 'monitorPolicy',
    variable: 'KEYTURN_MONITOR_POLICY_FILE',
    meaning: 'Policy file with logs of others that this server watches, each log line with its address, and witnesses',
  },
  {
    name: 'monitorWebhook',
    variable: 'KEYTURN_MONITOR_WEBHOOK',
    meaning: 'Where new findings in those logs are sent as JSON',
  },
  { name: 'oidcIssuer', variable: 'KEYTURN_OIDC_ISSUER', meaning: 'Issuer whose tokens are accepted' },
  { name: 'oidcAudience', variable: 'KEYTURN_OIDC_AUDIENCE', meaning: 'Audience those tokens must name' },
  { name: 'oidcRules', variable: 'KEYTURN_OIDC_RULES_FILE', meaning: 'JSON file: which claims give which scopes' },
  {
    name: 'keepWhole',
    variable: 'KEYTURN_KEEP_WHOLE',
    meaning:
      'Newest releases of each channel whose files stay whole; once a day older ones become chunks (default 0: all ' +
      'stay whole)',
  },
  {
    name: 'drainSeconds',
    variable: 'KEYTURN_DRAIN_SECONDS',
    meaning: 'How long open requests may take at the end (default 30)',
  },
  {
    name: 'logRequests',
    variable: 'KEYTURN_LOG_REQUESTS',
    meaning: 'true: a line per management request (default true)',
  },
]

/** Variables that name a file whose first line is the value. */
const FILE_SETTINGS = new Set(['s3SecretKey', 'metricsToken'])

type Values = Readonly<Record<string, string | undefined>>

/**
 * Reads the settings: environment over file over defaults. An unknown name is refused, so that a typing error does not
 * pass as a default.
 *
 * @param environment - Variables, `KEYTURN_…`.
 * @param file - Optional JSON file whose members are named as the variables.
 * @throws ServerError `SRV_CONFIG` naming the setting.
 */
export async function readConfig(environment: Values, file?: string): Promise<ServerConfig> {
  const fromFile = file === undefined ? {} : await readConfigFile(file)
  const known = new Set(settings.map(({ variable }) => variable))
  for (const name of Object.keys(fromFile)) if (!known.has(name)) throw bad(name, `there is no such setting in ${file}`)
  const values = new Map<string, string>()
  for (const { name, variable } of settings) {
    const value = environment[variable] ?? fromFile[variable]
    if (value === undefined || value === '') continue
    values.set(name, FILE_SETTINGS.has(name) ? await firstLine(variable, value) : value)
  }
  return checked(values)
}

async function readConfigFile(file: string): Promise<Values> {
  const parsed = parseStrictJson(
    await readFile(file).catch((cause: unknown) => {
      throw bad('--config', `file "${file}" cannot be read`, cause)
    }),
  )
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw bad('--config', 'expected an object')
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, String(value)]))
}

async function firstLine(variable: string, path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw bad(variable, `file "${path}" cannot be read`, cause)
  })
  const line = text.split('\n')[0]?.trim() ?? ''
  if (line === '') throw bad(variable, `file "${path}" is empty`)
  return line
}

function bad(name: string, why: string, cause?: unknown): ServerError {
  return new ServerError('SRV_CONFIG', `Cannot use setting ${name}: ${why}`, { cause })
}

function variableOf(name: keyof ServerConfig): string {
  return settings.find((setting) => setting.name === name)?.variable ?? name
}

function wholeNumber(
  values: ReadonlyMap<string, string>,
  name: keyof ServerConfig,
  preset: number,
  most: number,
): number {
  const text = values.get(name)
  if (text === undefined) return preset
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > most)
    throw bad(variableOf(name), `expected a whole number up to ${most}, got "${text}"`)
  return value
}

function yesNo(values: ReadonlyMap<string, string>, name: keyof ServerConfig, preset: boolean): boolean {
  const text = values.get(name)
  if (text !== undefined && text !== 'true' && text !== 'false')
    throw bad(variableOf(name), `expected true or false, got "${text}"`)
  return text === undefined ? preset : text === 'true'
}

function address(
  values: ReadonlyMap<string, string>,
  name: keyof ServerConfig,
  protocols: readonly string[],
): string | undefined {
  const text = values.get(name)
  if (text === undefined) return undefined
  const url = URL.canParse(text) ? new URL(text) : undefined
  // The value may hold a password, so it is not shown.
  if (url === undefined || !protocols.includes(url.protocol))
    throw bad(variableOf(name), `expected an address that begins with ${protocols.join(' or ')}`)
  return text
}

/** An absolute path without anything that a proxy could read in another way. */
function location(values: ReadonlyMap<string, string>, name: keyof ServerConfig): string | undefined {
  const text = values.get(name)
  if (text === undefined || /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/.test(text)) return text
  throw bad(
    variableOf(name),
    'expected a path like /internal-files: letters, digits, ".", "_" and "-", without "/" at its end',
  )
}

function checked(values: ReadonlyMap<string, string>): ServerConfig {
  const s3Url = address(values, 's3Url', ['http:', 'https:'])
  for (const name of ['s3AccessKey', 's3SecretKey'] as const) {
    if (s3Url !== undefined && values.get(name) === undefined)
      throw bad(variableOf(name), 'it is required with KEYTURN_S3_URL')
  }
  const oidcIssuer = address(values, 'oidcIssuer', ['https:', 'http:'])
  for (const name of ['oidcAudience', 'oidcRules'] as const) {
    if (oidcIssuer !== undefined && values.get(name) === undefined)
      throw bad(variableOf(name), 'it is required with KEYTURN_OIDC_ISSUER')
  }
  return {
    dataDir: values.get('dataDir') ?? './keyturn-data',
    host: values.get('host') ?? '127.0.0.1',
    port: wholeNumber(values, 'port', 8787, 65_535),
    publicUrl: address(values, 'publicUrl', ['https:', 'http:']),
    databaseUrl: address(values, 'databaseUrl', ['postgres:', 'postgresql:']),
    s3Url,
    s3Region: values.get('s3Region') ?? 'us-east-1',
    s3AccessKey: values.get('s3AccessKey'),
    s3SecretKey: values.get('s3SecretKey'),
    trustProxy: yesNo(values, 'trustProxy', false),
    accelPrefix: location(values, 'accelPrefix'),
    metricsToken: values.get('metricsToken'),
    passphraseFile: values.get('passphraseFile'),
    headSigner: values.get('headSigner'),
    logOrigin: values.get('logOrigin'),
    logPolicy: values.get('logPolicy'),
    witnessName: values.get('witnessName'),
    witnessLogs: values.get('witnessLogs'),
    monitorPolicy: values.get('monitorPolicy'),
    monitorWebhook: address(values, 'monitorWebhook', ['https:', 'http:']),
    oidcIssuer,
    oidcAudience: values.get('oidcAudience'),
    oidcRules: values.get('oidcRules'),
    keepWhole: wholeNumber(values, 'keepWhole', 0, 10_000),
    drainSeconds: wholeNumber(values, 'drainSeconds', 30, 3600),
    logRequests: yesNo(values, 'logRequests', true),
  }
}
