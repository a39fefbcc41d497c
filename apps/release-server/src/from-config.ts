import { readFile } from 'node:fs/promises'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '@keyturn/primitives'
import type { ServerConfig } from './config.ts'
import { ServerError } from './errors.ts'
import { unixHeadSigner } from './head-signer/client.ts'
import type { Stores } from './storage/migrate.ts'
import { parseOidcRules } from './access/oidc.ts'
import { jsonLog, silentLog } from './ops/log.ts'
import type { ReleaseServerOptions } from './server.ts'
import { openFolderBlobStore } from './storage/folder-blob-store.ts'
import { openPostgresMetadataStore } from './storage/postgres-metadata-store.ts'
import { openS3BlobStore } from './storage/s3-blob-store.ts'
import { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'

const day = 86_400_000

/** Opens the stores that the settings name. */
export async function storesFromConfig(config: ServerConfig): Promise<Stores> {
  const embedded = config.databaseUrl === undefined || config.s3Url === undefined
  if (embedded) await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  const metadata =
    config.databaseUrl === undefined
      ? openSqliteMetadataStore(join(config.dataDir, 'metadata.sqlite'))
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

async function passphraseOf(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ServerError('SRV_CONFIG', `Cannot read the passphrase file "${path}"`, { cause })
  })
  const line = text.split('\n')[0] ?? ''
  if (line === '') throw new ServerError('SRV_CONFIG', `Cannot use the passphrase file "${path}": it is empty`)
  return line
}

/** Turns settings into options: opens the stores they name, reads the files they name. */
export async function optionsFromConfig(config: ServerConfig): Promise<ReleaseServerOptions> {
  const { oidcIssuer, oidcAudience, oidcRules } = config
  return {
    ...(await storesFromConfig(config)),
    host: config.host,
    port: config.port,
    drainMs: config.drainSeconds * 1000,
    rates: { trustProxy: config.trustProxy },
    log: config.logRequests ? jsonLog((line) => process.stderr.write(line), systemClock) : silentLog,
    upkeep: { garbageEveryMs: day, scrubEveryMs: 7 * day },
    ...(config.publicUrl === undefined ? {} : { publicUrl: config.publicUrl }),
    ...(config.metricsToken === undefined ? {} : { metricsToken: config.metricsToken }),
    ...(config.accelPrefix === undefined ? {} : { offload: { kind: 'accel' as const, prefix: config.accelPrefix } }),
    ...(config.passphraseFile === undefined
      ? {}
      : { vault: { passphrase: await passphraseOf(config.passphraseFile) } }),
    ...(config.headSigner === undefined ? {} : { headSigner: unixHeadSigner(config.headSigner) }),
    ...(oidcIssuer === undefined
      ? {}
      : {
          oidc: {
            issuer: oidcIssuer,
            audience: oidcAudience ?? '',
            rules: parseOidcRules(await readFile(oidcRules ?? '', 'utf8')),
          },
        }),
  }
}
