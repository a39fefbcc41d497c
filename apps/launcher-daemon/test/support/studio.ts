import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Publisher } from '../../../../packages/install-engine/test/support/publisher.ts'
import type { TestFiles } from '../../../../packages/install-engine/test/support/publisher.ts'

/** One pixel grown to 16 by 16. */
export const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAEklEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC',
  'base64',
)

/** The same as a Windows icon. */
export const icon: Buffer = (() => {
  const head = Buffer.alloc(22)
  head.writeUInt16LE(1, 2)
  head.writeUInt16LE(1, 4)
  head.set([16, 16], 6)
  head.writeUInt16LE(1, 10)
  head.writeUInt16LE(32, 12)
  head.writeUInt32LE(png.length, 14)
  head.writeUInt32LE(22, 18)
  return Buffer.concat([head, png])
})()

type Status = Readonly<Record<string, unknown>>

/** The local interface of a running launcher. */
export class LauncherApi {
  readonly #address: string
  readonly #token: string

  constructor(address: string, token: string) {
    this.#address = address
    this.#token = token
  }

  async get(name: string): Promise<Status> {
    const response = await fetch(`${this.#address}api/${name}`, { headers: { authorization: `Bearer ${this.#token}` } })
    return (await response.json()) as Status
  }

  async post(name: string, body: object): Promise<Status> {
    const response = await fetch(`${this.#address}api/${name}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return (await response.json()) as Status
  }

  /** Waits until an event brings a status that is wanted: as the page sees it, also what is gone in a moment. */
  async untilEvent(isWanted: (status: Status) => boolean): Promise<void> {
    const stop = new AbortController()
    const response = await fetch(`${this.#address}api/events`, {
      headers: { authorization: `Bearer ${this.#token}` },
      signal: stop.signal,
    })
    let rest = ''
    for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + part).split('\n\n')
      rest = blocks.pop() ?? ''
      const found = blocks.map((block) => /^event: status\ndata: (.*)$/.exec(block)?.[1])
      if (found.some((data) => data !== undefined && isWanted(JSON.parse(data) as Status))) break
    }
    stop.abort()
  }

  /** Waits until a status is as wanted. */
  async until(isDone: (status: Status) => boolean): Promise<void> {
    while (!isDone(await this.get('status'))) await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A studio that publishes: its tree over HTTP, on the real clock. */
export class StudioServer {
  readonly publisher: Publisher
  readonly address: string
  readonly #server: Server
  readonly #asked: string[]

  private constructor(publisher: Publisher, server: Server, asked: string[]) {
    this.publisher = publisher
    this.#server = server
    this.#asked = asked
    this.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  static async start(): Promise<StudioServer> {
    const publisher = await Publisher.create(Date.now() - 60_000)
    const asked: string[] = []
    const server = createServer((request, response) => {
      const path = decodeURIComponent((request.url ?? '/').slice(1))
      asked.push(path)
      const bytes = publisher.tree.get(path)
      response.writeHead(bytes === undefined ? 404 : 200, { 'content-length': bytes?.length ?? 0 })
      response.end(bytes)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new StudioServer(publisher, server, asked)
  }

  /** Publishes a release as of now. */
  async release(version: string, files: TestFiles, channel = 'stable'): Promise<void> {
    this.publisher.nowMs = Date.now()
    await this.publisher.release(files, { version, channel, nowMs: Date.now() })
  }

  /** Waits for the launcher whose own folder this is, and speaks to it. */
  async apiOf(stateFolder: string): Promise<LauncherApi> {
    for (;;) {
      const text = await readFile(join(stateFolder, 'api.json'), 'utf8').catch(() => '')
      if (text.endsWith('\n')) {
        const { address, token } = JSON.parse(text) as { address: string; token: string }
        return new LauncherApi(address, token)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Whether an address was asked for since the last call. */
  async wasAsked(path: string): Promise<boolean> {
    const asked = this.#asked.splice(0)
    return await Promise.resolve(asked.some((one) => one.endsWith(path)))
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
