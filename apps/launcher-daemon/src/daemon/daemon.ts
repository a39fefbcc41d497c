import { constants } from 'node:fs'
import { mkdir, open, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseStrictJson, PrimitivesError } from '@keyturn/primitives'
import { lockFile, writeFileAtomic } from '@keyturn/primitives/node'
import { keepSettings, LauncherError, updatesFolder } from '@keyturn/install-engine'
import { ApiServer } from './api-server.ts'
import type { ApiServerOptions } from './api-server.ts'
import { Supervisor } from './supervisor.ts'
import type { SupervisorOptions } from './supervisor.ts'

/** How a daemon runs. */
export interface DaemonOptions extends SupervisorOptions, ApiServerOptions {
  /** Whether it looks for updates by itself; default true. */
  readonly check?: boolean
}

/** A daemon that runs. */
export interface Daemon {
  /** `http://127.0.0.1:<port>/`, or `unix:<path>`. */
  readonly address: string
  readonly token: string
  readonly supervisor: Supervisor
  /** An address that opens the page once. */
  pageAddress(): string
  close(): Promise<void>
}

function apiFile(folder: string): string {
  return join(folder, updatesFolder, 'api.json')
}

/**
 * Starts the long-running launcher of an install: one per install, with its interface on this machine only. Address
 * and token stand in a file that only this user reads.
 *
 * @throws LauncherError `LA_LOCKED` when one runs already.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  await mkdir(options.folder, { recursive: true })
  const folder = await realpath(options.folder)
  const updates = join(folder, updatesFolder)
  await mkdir(updates, { recursive: true, mode: 0o700 })
  const lock = await lockFile(join(updates, 'daemon.lock')).catch((error: unknown) => {
    if (!(error instanceof PrimitivesError) || error.code !== 'PRIM_LOCKED') throw error
    throw new LauncherError('LA_LOCKED', `A launcher runs for "${folder}" already`, {
      hint: 'Open its page with keyturn-launcher open',
      cause: error,
    })
  })
  const supervisor = new Supervisor({ ...options, folder })
  const server = new ApiServer(supervisor)
  const address = await server.listen(options)
  await keepSettings(folder, options.settings)
  const api = new TextEncoder().encode(`${JSON.stringify({ address, token: server.token })}\n`)
  await writeFileAtomic(apiFile(folder), api, { mode: 0o600 })
  if (options.check !== false) supervisor.start()
  return {
    address,
    token: server.token,
    supervisor,
    pageAddress: () => `${address}?code=${server.newCode()}`,
    async close() {
      await server.close()
      await supervisor.stop()
      await rm(apiFile(folder), { force: true })
      await lock.release()
    },
  }
}

/** Reads the file with the daemon's address and token; never through a link. */
async function readApiFile(folder: string): Promise<Uint8Array | undefined> {
  const file = await open(apiFile(folder), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    const { bytesRead, buffer } = await file.read(new Uint8Array(4097), 0, 4097, 0)
    return bytesRead > 4096 ? undefined : buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/**
 * Asks the running daemon of an install for an address that opens its page once.
 *
 * @throws LauncherError `LA_NOT_INSTALLED` when none runs.
 */
export async function askForPage(folder: string): Promise<string> {
  const bytes = await readApiFile(folder).catch(() => undefined)
  const value = bytes === undefined ? undefined : parseStrictJson(bytes)
  const isApi = typeof value === 'object' && value !== null && !Array.isArray(value)
  const [address, token] = isApi ? [value['address'], value['token']] : []
  if (typeof address !== 'string' || typeof token !== 'string' || !address.startsWith('http://127.0.0.1:')) {
    throw new LauncherError('LA_NOT_INSTALLED', `No launcher with a page runs for "${folder}"`, {
      hint: 'Start one with keyturn-launcher run',
    })
  }
  const response = await fetch(`${address}api/page-code`, {
    method: 'POST',
    body: '{}',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(5_000),
  }).catch((cause: unknown) => {
    throw new LauncherError('LA_NETWORK', `The launcher at ${address} does not answer`, { cause })
  })
  const answer = (await response.json()) as { code?: unknown }
  if (typeof answer.code !== 'string') throw new LauncherError('LA_API_AUTH', 'The launcher refused to open its page')
  return `${address}?code=${answer.code}`
}
