import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { createReleaseServer } from '../src/server.ts'
import type { ReleaseServer, ReleaseServerOptions } from '../src/server.ts'
import { ReleaseServerClient } from '@keyturn/release-client'
import type { Scope } from '@keyturn/release-client'

const endings: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

/** Has `end` called when the test is over. */
export function atEnd(end: () => Promise<unknown>): void {
  endings.push(end)
}

/** A fresh folder, removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'keyturn-server-'))
  atEnd(() => rm(path, { recursive: true, force: true }))
  return path
}

export interface RunningServer {
  readonly server: ReleaseServer
  readonly url: string
  readonly dataDir: string
  client(scopes: readonly Scope[], limits?: { products?: string[]; channels?: string[] }): Promise<ReleaseServerClient>
  token(scopes: readonly Scope[], limits?: { products?: string[]; channels?: string[]; days?: number }): Promise<string>
}

/** A listening server on a fresh folder, closed after the test. */
export async function startServer(options: Partial<ReleaseServerOptions> = {}): Promise<RunningServer> {
  const dataDir = options.dataDir ?? (await temporaryFolder())
  const server = await createReleaseServer({
    dataDir,
    drainMs: 500,
    ...options,
    rates: {
      publicPerMinute: 1e9,
      managementPerMinute: 1e9,
      loginPerMinute: 1e9,
      reportsPerMinute: 1e9,
      witnessPerMinute: 1e9,
      noisePerMinute: 1e9,
      ...options.rates,
    },
  })
  atEnd(() => server.close())
  const { url } = await server.listen()
  const token: RunningServer['token'] = async (scopes, limits) =>
    (await server.createToken({ name: 'test', scopes, ...limits })).secret
  return {
    server,
    url,
    dataDir,
    token,
    client: async (scopes, limits) =>
      new ReleaseServerClient(url, { token: await token(scopes, limits), retryPauseMs: 1 }),
  }
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function someBytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(randomBytes(size))
}

/** The address of a blob in the public tree. */
export function fileUrl(url: string, sha256: string): string {
  return `${url}/files/${sha256.slice(0, 2)}/${sha256}`
}
