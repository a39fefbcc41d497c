import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** One answer as a simulated launcher sees it. */
export interface LauncherAnswer {
  readonly status: number
  readonly body: Buffer
  readonly ms: number
}

/**
 * One kept connection, one request at a time: as little as a client can cost, so that what is measured is the server.
 * Reads what this server and nginx answer to plain GETs: a Content-Length, or no body.
 */
export class LauncherConnection {
  readonly #host: string
  readonly #port: number
  readonly #address: string
  #socket: Socket | undefined

  /** @param address - What the launcher gives as its address, for rates behind a proxy. */
  constructor(url: string, address: string) {
    const { hostname, port } = new URL(url)
    this.#host = hostname
    this.#port = Number(port)
    this.#address = address
  }

  /** Gets a path; connects again when the server closed the connection meanwhile. */
  async get(path: string): Promise<LauncherAnswer> {
    const begun = performance.now()
    for (let attempt = 0; ; attempt++) {
      const fresh = this.#socket === undefined
      this.#socket ??= await this.#connect()
      try {
        const { status, body } = await this.#exchange(this.#socket, path)
        return { status, body, ms: performance.now() - begun }
      } catch (error) {
        this.close()
        if (fresh || attempt > 0) throw error
      }
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.#host, port: this.#port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.removeListener('error', reject)
        socket.on('error', () => socket.destroy())
        resolve(socket)
      })
    })
  }

  #exchange(socket: Socket, path: string): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      let got: Buffer = Buffer.alloc(0)
      let headEnd = -1
      let wanted = 0
      let status = 0
      const end = (error?: Error): void => {
        socket.removeListener('data', onData)
        socket.removeListener('close', onClose)
        if (error === undefined) resolve({ status, body: got.subarray(headEnd, headEnd + wanted) })
        else reject(error)
      }
      const onClose = (): void => end(new Error(`${path}: the connection ended`))
      const onData = (part: Buffer): void => {
        got = got.length === 0 ? part : Buffer.concat([got, part])
        if (headEnd === -1) {
          const at = got.indexOf('\r\n\r\n')
          if (at === -1) return
          const head = got.toString('latin1', 0, at)
          headEnd = at + 4
          status = Number(head.slice(9, 12))
          wanted = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
        }
        if (got.length >= headEnd + wanted) end()
      }
      socket.on('data', onData)
      socket.once('close', onClose)
      socket.write(`GET ${path} HTTP/1.1\r\nHost: updates.example\r\nX-Forwarded-For: ${this.#address}\r\n\r\n`)
    })
  }
}

/** What many launchers met. */
export interface LauncherFigures {
  readonly launchers: number
  readonly requests: number
  readonly failures: readonly string[]
  readonly seconds: number
  /** Milliseconds of head, manifest and signatures. */
  readonly metadata: readonly number[]
  /** Milliseconds of files. */
  readonly files: readonly number[]
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** One launcher that updates: head, the manifest it pins, its signatures, its files; every byte checked. */
async function update(connection: LauncherConnection, metadata: number[], files: number[]): Promise<void> {
  const get = async (path: string, times: number[]): Promise<Buffer> => {
    const { status, body, ms } = await connection.get(path)
    times.push(ms)
    if (status !== 200) throw new Error(`${path}: ${status}`)
    return body
  }
  const head = JSON.parse((await get('/head.json', metadata)).toString()) as { payload: string }
  const { manifest } = JSON.parse(Buffer.from(head.payload, 'base64').toString()) as {
    manifest: { version: string; sha256: string }
  }
  const bytes = await get(`/channels/stable/manifests/${manifest.version}.json`, metadata)
  if (sha256(bytes) !== manifest.sha256) throw new Error('a mixed release')
  await get(`/channels/stable/manifests/${manifest.version}.sigs.json`, metadata)
  const model = JSON.parse(bytes.toString()) as { files: { sha256: string }[] }
  for (const file of model.files)
    if (sha256(await get(`/files/${file.sha256.slice(0, 2)}/${file.sha256}`, files)) !== file.sha256)
      throw new Error('wrong bytes')
}

/**
 * Many launchers, each on a connection of its own that stays open to the end, and with an address of its own.
 *
 * @param spreadMs - They come one after the other over this time; 0: all at once.
 * @param first - Number of the first one, for its address.
 */
export async function runLaunchers(url: string, count: number, spreadMs: number, first = 0): Promise<LauncherFigures> {
  const metadata: number[] = []
  const files: number[] = []
  const failures: string[] = []
  const addressOf = (at: number): string => `10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}`
  const connections = Array.from({ length: count }, (_, at) => new LauncherConnection(url, addressOf(first + at)))
  const begun = performance.now()
  await Promise.all(
    connections.map(async (connection, at) => {
      const wait = (spreadMs * at) / count
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
      await update(connection, metadata, files).catch((error: unknown) => failures.push(String(error)))
    }),
  )
  const seconds = (performance.now() - begun) / 1000
  for (const connection of connections) connection.close()
  return { launchers: count, requests: metadata.length + files.length, failures, seconds, metadata, files }
}

/** The figures in one line. */
export function launcherLine({ launchers, requests, failures, seconds, metadata, files }: LauncherFigures): string {
  const ms = (values: readonly number[]): string =>
    `p50 ${percentile(values, 0.5).toFixed(0)} ms, p99 ${percentile(values, 0.99).toFixed(0)} ms`
  return `${launchers} launchers, ${requests} requests in ${seconds.toFixed(1)} s; metadata ${ms(metadata)}; files ${ms(files)}; ${failures.length} failures`
}
