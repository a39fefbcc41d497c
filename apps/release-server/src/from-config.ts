import { systemClock } from '@keyturn/primitives'
import type { ServerConfig } from './config.ts'
import { jsonLog } from './ops/log.ts'
import type { ReleaseServerOptions } from './server.ts'

/** Turns settings into options: opens the stores they name. */
export async function optionsFromConfig(config: ServerConfig): Promise<ReleaseServerOptions> {
  return {
    dataDir: config.dataDir,
    host: config.host,
    port: config.port,
    drainMs: config.drainSeconds * 1000,
    rates: { trustProxy: config.trustProxy },
    log: jsonLog((line) => process.stderr.write(line), systemClock),
    ...(config.accelPrefix === undefined ? {} : { offload: { kind: 'accel' as const, prefix: config.accelPrefix } }),
  }
}
