import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import { blobRoutes } from './blob-routes.ts'
import { channelRoutes } from './channel-routes.ts'
import { productRoutes } from './product-routes.ts'
import { releaseRoutes } from './release-routes.ts'
import { tokenRoutes } from './token-routes.ts'
import { uploadRoutes } from './upload-routes.ts'

/** Adds all routes of the framework side. */
export function registerRoutes(app: FastifyInstance, context: ServerContext): void {
  blobRoutes(app, context)
  uploadRoutes(app, context)
  productRoutes(app, context)
  releaseRoutes(app, context)
  channelRoutes(app, context)
  tokenRoutes(app, context)
}
