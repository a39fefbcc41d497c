import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import { blobRoutes } from './blob-routes.ts'
import { tokenRoutes } from './token-routes.ts'
import { uploadRoutes } from './upload-routes.ts'

/** Adds all routes of the framework side. */
export function registerRoutes(app: FastifyInstance, context: ServerContext): void {
  blobRoutes(app, context)
  uploadRoutes(app, context)
  tokenRoutes(app, context)
}
