import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import { dashboardRoutes } from '../dashboard/routes.ts'
import type { ExchangeParts } from '../keys/exchange.ts'
import { deviceRoutes } from '../keys/device-routes.ts'
import { keyFileRoutes, runtimeKeyRoutes } from '../keys/key-routes.ts'
import type { WebhookSecrets } from '../events/webhook-secrets.ts'
import { witnessRoutes } from '../keys/witness-routes.ts'
import { Witness } from '../keys/witness.ts'
import type { Authenticator } from '../access/sessions.ts'
import { auditRoutes } from './audit-routes.ts'
import { blobRoutes } from './blob-routes.ts'
import { channelRoutes } from './channel-routes.ts'
import { healthViewRoutes } from './health-routes.ts'
import { openApiRoutes } from './openapi.ts'
import { operationRoutes } from './operation-routes.ts'
import type { OperationParts } from './operation-routes.ts'
import { overviewRoutes } from './overview-routes.ts'
import { productRoutes } from './product-routes.ts'
import { releaseCheckRoutes } from './release-check-routes.ts'
import { releaseRoutes } from './release-routes.ts'
import { tokenRoutes } from './token-routes.ts'
import { logWitnessRoutes, releaseLogRoutes } from '../tlog/log-routes.ts'
import type { LogWitness } from '@keyturn/tlog'
import { uploadRoutes } from './upload-routes.ts'
import { webhookRoutes } from './webhook-routes.ts'

/** Everything the routes need. */
export interface RouteParts {
  readonly context: ServerContext
  readonly version: string
  readonly operation: OperationParts
  readonly authenticator: Authenticator
  /** Set when the server has a vault. */
  readonly exchange: ExchangeParts | undefined
  readonly secrets: WebhookSecrets
  /** Set when the server is a witness of logs. */
  readonly logWitness: LogWitness | undefined
}

/** Adds all routes of the framework side. */
export function registerRoutes(
  app: FastifyInstance,
  { context, version, operation, authenticator, exchange, secrets, logWitness }: RouteParts,
): void {
  openApiRoutes(app, version)
  blobRoutes(app, context)
  uploadRoutes(app, context)
  productRoutes(app, context)
  releaseLogRoutes(app, context)
  releaseRoutes(app, context)
  releaseCheckRoutes(app, operation.checks)
  channelRoutes(app, context)
  tokenRoutes(app, context)
  auditRoutes(app, context)
  operationRoutes(app, context, operation)
  healthViewRoutes(app, context, operation.funnel)
  overviewRoutes(app, context)
  webhookRoutes(app, context, secrets)
  keyFileRoutes(app, context)
  deviceRoutes(app, context)
  if (exchange !== undefined) {
    runtimeKeyRoutes(app, exchange)
    witnessRoutes(app, new Witness(context, exchange.vault))
  }
  if (logWitness !== undefined) logWitnessRoutes(app, logWitness)
  dashboardRoutes(app, authenticator)
}
