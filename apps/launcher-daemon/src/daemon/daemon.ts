import { constants } from 'node:fs'
import { mkdir, open, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isRecord, parseStrictJson, PrimitivesError } from '@keyturn/primitives'
import { inspectLock, lockFile, writeFileAtomic } from '@keyturn/primitives/node'
import { diskError, keepSettings, LauncherError, updatesFolder } from '@keyturn/install-engine'
import { ApiServer } from './api-server.ts'
import type { ApiServerOptions } from './api-server.ts'
import { Supervisor } from './supervisor.ts'
import type { SupervisorOptions } from './snapshot.ts'

/** How a daemon runs. */
export interface DaemonOptions extends SupervisorOptions, ApiServerOptions {
  /** Whether it looks for updates by itself; default true. */
  readonly check?: boolean | undefined
  /** Folder for lock, address and token; default `.updates` in the install. */
  readonly stateFolder?: string | undefined
}

/** A daemon that runs. */
export interface Daemon {
  /** `http://127.0.0.1:<port>/`, or `unix:<path>`. */
  readonly address: string
  readonly token: string
  readonly supervisor: Supervisor
  /** An address that opens the page once. */
  pageAddress(): string
  /** Pages that listen now. */
  readonly openPages: number
  /**
   * Ends it.
   *
   * @param isReplaced - A newer launcher starts at once, with a window of its own: the present ones close.
   */
  close(isReplaced?: boolean): Promise<void>
}

/** A launcher that ends stops its download first; a setup that waits for it goes on after this time. */
const QUIT_PATIENCE_MS = 15_000
const QUIT_POLL_MS = 50

function daemonLock(stateFolder: string): string {
  return join(stateFolder, 'daemon.lock')
}

function apiFile(stateFolder: string): string {
  return join(stateFolder, 'api.json')
}

/**
 * Starts the long-running launcher of an install: one per install, with its interface on this machine only. Address
 * and token are in a file that only this user reads.
 *
 * @throws LauncherError `LA_LOCKED` when one runs already.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { setup } = options
  if (setup === undefined) await mkdir(options.folder, { recursive: true })
  const folder = setup === undefined ? await realpath(options.folder) : options.folder
  const stateFolder = options.stateFolder ?? join(folder, updatesFolder)
  await mkdir(stateFolder, { recursive: true, mode: 0o700 })
  const lock = await lockFile(daemonLock(stateFolder)).catch((error: unknown) => {
    if (!(error instanceof PrimitivesError) || error.code !== 'PRIM_LOCKED')
      throw diskError(error, `run for "${folder}"`)
    throw new LauncherError('LA_LOCKED', `A launcher already runs for "${folder}"`, {
      hint: 'Open its page with keyturn-launcher open',
      cause: error,
    })
  })
  const supervisor = new Supervisor({ ...options, folder })
  const server = new ApiServer(supervisor, options)
  const address = await listen(server, options, stateFolder)
  if (setup === undefined) await keepSettings(folder, options.settings)
  const api = new TextEncoder().encode(`${JSON.stringify({ address, token: server.token })}\n`)
  // Means nothing once this process is gone, and a slow disk takes its time to sync while the player waits.
  await writeFileAtomic(apiFile(stateFolder), api, { mode: 0o600, durable: false })
  if (options.check !== false && setup === undefined) supervisor.start()
  return {
    address,
    token: server.token,
    supervisor,
    pageAddress: () => `${address}?code=${server.newCode()}`,
    get openPages() {
      return server.openPages
    },
    async close(isReplaced = false) {
      await server.close(isReplaced)
      await supervisor.stop()
      await rm(apiFile(stateFolder), { force: true })
      await lock.release()
    },
  }
}

/**
 * Listens where a launcher that was killed did: its page finds this one, and says that it has to be opened again instead
 * of waiting for a launcher that never comes back.
 */
async function listen(server: ApiServer, options: DaemonOptions, stateFolder: string): Promise<string> {
  const { port, socket } = options
  const left =
    port === undefined && socket === undefined ? await readApiFile(stateFolder).catch(() => undefined) : undefined
  const before =
    left === undefined ? undefined : /"http:\/\/127\.0\.0\.1:(\d{1,5})\/"/.exec(new TextDecoder().decode(left))?.[1]
  if (before === undefined) return await server.listen(options)
  // Somebody else may have it now.
  return await server.listen({ ...options, port: Number(before) }).catch(() => server.listen(options))
}

/** Reads the file with the daemon's address and token; never through a link. */
async function readApiFile(stateFolder: string): Promise<Uint8Array | undefined> {
  const file = await open(apiFile(stateFolder), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    const { bytesRead, buffer } = await file.read(new Uint8Array(4097), 0, 4097, 0)
    return bytesRead > 4096 ? undefined : buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

interface ApiAddress {
  readonly address: string
  readonly token: string
}

async function findApi(folder: string, stateFolder: string): Promise<ApiAddress> {
  const bytes = await readApiFile(stateFolder).catch(() => undefined)
  const value = bytes === undefined ? undefined : parseStrictJson(bytes)
  const [address, token] = isRecord(value) ? [value['address'], value['token']] : []
  if (typeof address !== 'string' || typeof token !== 'string' || !address.startsWith('http://127.0.0.1:')) {
    throw new LauncherError('LA_NOT_INSTALLED', `No launcher with a page runs for "${folder}"`, {
      hint: 'Start one with keyturn-launcher run',
    })
  }
  return { address, token }
}

async function callApi({ address, token }: ApiAddress, name: string): Promise<Response> {
  return await fetch(`${address}api/${name}`, {
    method: 'POST',
    body: '{}',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(5_000),
  }).catch((cause: unknown) => {
    throw new LauncherError('LA_NETWORK', `The launcher at ${address} does not answer`, { cause })
  })
}

/**
 * Asks the running daemon of an install for an address that opens its page once.
 *
 * @param stateFolder - Where it keeps its address; default `.updates` in the install.
 * @throws LauncherError `LA_NOT_INSTALLED` when none runs.
 */
export async function askForPage(folder: string, stateFolder: string = join(folder, updatesFolder)): Promise<string> {
  const api = await findApi(folder, stateFolder)
  const answer = (await (await callApi(api, 'page-code')).json()) as { code?: unknown }
  if (typeof answer.code !== 'string') throw new LauncherError('LA_API_AUTH', 'The launcher refused to open its page')
  return `${api.address}?code=${answer.code}`
}

/**
 * Runs something while no daemon runs for an install, and keeps one from starting meanwhile.
 *
 * @throws LauncherError `LA_LOCKED` when one runs.
 */
export async function withoutDaemon<T>(stateFolder: string, run: () => Promise<T>): Promise<T> {
  const lock = await lockFile(daemonLock(stateFolder)).catch((error: unknown) => {
    if (!(error instanceof PrimitivesError) || error.code !== 'PRIM_LOCKED')
      throw diskError(error, 'look for a launcher that runs')
    throw new LauncherError('LA_LOCKED', 'The launcher of this install runs', {
      hint: 'End it with keyturn-launcher quit',
      cause: error,
    })
  })
  return await run().finally(() => lock.release())
}

/**
 * Asks the running daemon of an install to end, and waits until it has: what it was doing ends first.
 *
 * @throws LauncherError `LA_NOT_INSTALLED` when none runs.
 */
export async function askToQuit(folder: string, stateFolder: string = join(folder, updatesFolder)): Promise<void> {
  const api = await findApi(folder, stateFolder)
  const response = await callApi(api, 'quit')
  if (!response.ok) throw new LauncherError('LA_API_AUTH', 'The launcher refused to end')
  for (let waitedMs = 0; waitedMs < QUIT_PATIENCE_MS; waitedMs += QUIT_POLL_MS) {
    if ((await inspectLock(daemonLock(stateFolder))).state !== 'held') return
    await sleep(QUIT_POLL_MS)
  }
}
