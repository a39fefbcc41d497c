import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { KeyturnError, parseStrictJson } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { LauncherError, parseAccessCode, parseSettings } from '@keyturn/install-engine'
import { loadPage } from '../page/load-page.ts'
import type { PageBrand } from '../page/brand.ts'
import type { PageAsset } from '../page/load-page.ts'
import { checkSender, isKnown, PageSessions, readBody, sameSecret } from './guard.ts'
import type { Credentials } from './guard.ts'
import { EventStream } from './event-stream.ts'
import { OPEN_SETTINGS } from './snapshot.ts'
import type { Activity, OpenSettings } from './snapshot.ts'
import type { Supervisor } from './supervisor.ts'
import { openAddress } from './window.ts'

/** Where the daemon listens. */
export interface ApiServerOptions {
  /** Port on 127.0.0.1; default any free one. */
  readonly port?: number | undefined
  /** A Unix socket, mode 0600, instead of a port; without a page. */
  readonly socket?: string | undefined
  /** Name, logo and color of the page; default: Keyturn's own. */
  readonly brand?: PageBrand | undefined
  /** Called when a page or a command asks the launcher to end. */
  readonly onQuit?: (() => void) | undefined
  /** Shows a link of the notes; default: the player's own browser does. */
  readonly openLink?: ((address: string) => void) | undefined
}

const securityHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
}

const activities: readonly Activity[] = ['update', 'repair', 'rollback', 'launch']
/** What the body of a call may hold. */
const ALLOWED_MEMBERS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ['settings', OPEN_SETTINGS],
  ['access-code', ['code']],
  ['launch', ['playInstalled']],
  ['setup', ['folder', 'adopt', 'components']],
  ['look', ['folder']],
  ['open-link', ['address']],
])
const BASE = 'http://localhost'
/** A code that nobody used within this time is void. */
const CODE_LIFE_MS = 60_000

/** The daemon's local interface: status, changes, events, and the page that uses them. */
export class ApiServer {
  /** For the 0600 file; new at each start. */
  readonly token = randomBytes(32).toString('hex')
  readonly #supervisor: Supervisor
  readonly #server: Server
  readonly #sessions = new PageSessions()
  readonly #codes = new Map<string, number>()
  readonly #stream: EventStream
  readonly #brand: PageBrand | undefined
  readonly #onQuit: (() => void) | undefined
  readonly #openLink: (address: string) => void
  #page: ReadonlyMap<string, PageAsset> = new Map()
  #hosts: readonly string[] | undefined

  constructor(supervisor: Supervisor, options: Pick<ApiServerOptions, 'brand' | 'onQuit' | 'openLink'> = {}) {
    this.#supervisor = supervisor
    this.#brand = options.brand
    this.#onQuit = options.onQuit
    this.#openLink = options.openLink ?? openAddress
    this.#stream = new EventStream(supervisor)
    this.#server = createServer({ maxHeaderSize: 16 * 1024, requestTimeout: 30_000 }, (request, response) => {
      void this.#handle(request, response)
    })
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /** Listens and returns the address. */
  async listen(options: ApiServerOptions = {}): Promise<string> {
    this.#page = await loadPage(this.#brand)
    if (options.socket !== undefined) return await this.#listenOnSocket(options.socket)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(options.port ?? 0, '127.0.0.1', resolve)
    })
    const { port } = this.#server.address() as AddressInfo
    this.#hosts = [`127.0.0.1:${port}`, `[::1]:${port}`]
    return `http://127.0.0.1:${port}/`
  }

  async #listenOnSocket(path: string): Promise<string> {
    removeOldSocket(path)
    // Born private: between bind and chmod another user could otherwise connect.
    const mask = process.umask(0o177)
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        this.#server.listen(path, resolve)
      })
    } finally {
      process.umask(mask)
    }
    chmodSync(path, 0o600)
    return `unix:${path}`
  }

  /** Ends every connection; `isReplaced` as in {@link Daemon.close}. */
  async close(isReplaced = false): Promise<void> {
    this.#stream.close(isReplaced)
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  /** A code that opens the page once, within a minute. */
  newCode(): string {
    const code = randomBytes(24).toString('base64url')
    this.#codes.set(code, performance.now() + CODE_LIFE_MS)
    return code
  }

  /** Pages that listen now. */
  get openPages(): number {
    return this.#stream.size
  }

  get #credentials(): Credentials {
    return { token: this.token, sessions: this.#sessions }
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      checkSender(request, this.#hosts)
      const address = request.url ?? '/'
      if (!URL.canParse(address, BASE)) throw new LauncherError('LA_API_REQUEST', 'Refused: this is not an address')
      const url = new URL(address, BASE)
      if (request.method === 'GET') await this.#get(request, response, url)
      else if (request.method === 'POST') await this.#post(request, response, url)
      else throw new LauncherError('LA_API_REQUEST', 'Refused: only GET and POST are known')
    } catch (error) {
      this.#fail(response, error)
    }
  }

  #fail(response: ServerResponse, thrown: unknown): void {
    const error =
      thrown instanceof KeyturnError ? thrown : new LauncherError('LA_BUG', 'The launcher failed', { cause: thrown })
    const status = error.code === 'LA_API_AUTH' ? 403 : error.kind === 'busy' ? 409 : error.kind === 'bug' ? 500 : 400
    if (response.headersSent) return void response.destroy()
    this.#json(response, status, {
      type: `https://keyturn.dev/errors/${error.code}`,
      title: error.message,
      status,
      code: error.code,
      kind: error.kind,
    })
  }

  #json(response: ServerResponse, status: number, value: JsonValue): void {
    const type = status >= 400 ? 'application/problem+json' : 'application/json'
    response.writeHead(status, {
      ...securityHeaders,
      'content-type': type,
      connection: status >= 400 ? 'close' : 'keep-alive',
    })
    response.end(JSON.stringify(value))
  }

  #requireKnown(request: IncomingMessage): void {
    if (!isKnown(request, this.#credentials))
      throw new LauncherError('LA_API_AUTH', 'Refused: the token is missing or old', {
        hint: 'Open the page with keyturn-launcher open',
      })
  }

  async #get(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const asset = this.#hosts === undefined ? undefined : this.#page.get(url.pathname)
    if (asset !== undefined) return this.#showPage(response, asset, url)
    this.#requireKnown(request)
    if (url.pathname === '/api/status') return this.#json(response, 200, toJson(await this.#supervisor.snapshot()))
    if (url.pathname === '/api/report') return await this.#showReport(response)
    if (url.pathname === '/api/events') return await this.#stream.add(request, response, securityHeaders)
    throw new LauncherError('LA_API_REQUEST', 'Refused: there is nothing at this address')
  }

  /**
   * The page itself is not secret; the session is. A one-time code puts one into the page, which sends it back in a
   * header and keeps it for this tab. Without a code the page finds its own session again, or says how to be opened.
   */
  #showPage(response: ServerResponse, asset: PageAsset, url: URL): void {
    const code = url.pathname === '/' ? url.searchParams.get('code') : null
    let { body } = asset
    if (code !== null && typeof body === 'string') {
      const known = [...this.#codes].find(([made, until]) => sameSecret(code, made) && performance.now() < until)
      if (known === undefined)
        throw new LauncherError('LA_API_AUTH', 'Refused: this code was used or is too old', {
          hint: 'Open the page again with keyturn-launcher open',
        })
      this.#codes.delete(known[0])
      body = body.replace(
        '<meta name="session" content="">',
        `<meta name="session" content="${this.#sessions.begin()}">`,
      )
    }
    response.writeHead(200, { ...securityHeaders, 'content-type': asset.type })
    response.end(body)
  }

  async #post(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    this.#requireKnown(request)
    const bytes = await readBody(request)
    const body = bytes.length === 0 ? {} : parseStrictJson(bytes)
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new LauncherError('LA_API_REQUEST', 'Refused: the body is not an object')
    const name = url.pathname.replace(/^\/api\//, '')
    const answer = await this.#change(name, body)
    // The answer goes out first: ending closes every connection.
    if (name === 'quit') response.once('close', () => this.#onQuit?.())
    this.#json(response, 202, answer)
  }

  /** The report as a file to keep; the page has no place of its own to write to. */
  async #showReport(response: ServerResponse): Promise<void> {
    const { launcher } = this.#brand ?? {}
    const text = await this.#supervisor.report(launcher)
    response.writeHead(200, { ...securityHeaders, 'content-type': 'text/plain; charset=utf-8' })
    response.end(text)
  }

  async #setUp({ folder, adopt, components }: JsonObject): Promise<void> {
    const chosen = components === undefined ? {} : parseSettings({ components })
    await this.#supervisor.choose(String(folder ?? ''), { adopt: adopt === true, components: chosen.components })
  }

  /** Opens a link of the notes in the player's browser: of verified notes, and of nothing else. */
  async #openNoted(address: string): Promise<void> {
    const { notes, offeredNotes, offer } = await this.#supervisor.snapshot()
    const isNoted = [notes, offeredNotes, offer?.notes].some((text) => hasLink(text ?? '', address))
    if (!isNoted) throw new LauncherError('LA_API_REQUEST', 'Refused: no notes have this link')
    this.#openLink(address)
  }

  async #change(name: string, body: JsonObject): Promise<JsonValue> {
    const allowed = ALLOWED_MEMBERS.get(name) ?? []
    const unknown = Object.keys(body).find((key) => !allowed.includes(key))
    if (unknown !== undefined)
      throw new LauncherError('LA_API_REQUEST', `Refused: ${JSON.stringify(unknown.slice(0, 40))} cannot be set here`)
    if ((activities as readonly string[]).includes(name))
      await this.#supervisor.begin(name as Activity, { playInstalled: body['playInstalled'] === true, isAsked: true })
    else if (name === 'pause') await this.#supervisor.pause()
    else if (name === 'resume') await this.#supervisor.resume()
    else if (name === 'settings') await this.#supervisor.change(readOpenSettings(body))
    else if (name === 'access-code') await this.#supervisor.change({}, parseAccessCode(String(body['code'] ?? '')))
    else if (name === 'setup') await this.#setUp(body)
    else if (name === 'look') return toJson(await this.#supervisor.look(String(body['folder'] ?? '')))
    else if (name === 'open-link') await this.#openNoted(String(body['address'] ?? ''))
    else if (name === 'page-code') return { code: this.newCode() }
    else if (name !== 'quit') throw new LauncherError('LA_API_REQUEST', 'Refused: there is no such call')
    return { ok: true }
  }
}

/**
 * Removes the socket that a launcher before left behind, and nothing else.
 *
 * @throws LauncherError `LA_USAGE` when something that is not a socket is there.
 */
function removeOldSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket())
    throw new LauncherError('LA_USAGE', `Cannot listen on "${path}": it is not a socket`, {
      hint: 'Give --socket a path at which nothing is',
    })
  rmSync(path, { force: true })
}

/** Whether notes have a link to this address, as the page reads them. */
function hasLink(notes: string, address: string): boolean {
  const found = [...notes.matchAll(/\]\((https:\/\/[^)\s]+)\)/g)].map((match) => match[1] ?? '')
  return found.some((link) => URL.canParse(link) && new URL(link).href === address)
}

/** `null` takes a setting away. */
function readOpenSettings(body: JsonObject): OpenSettings {
  const members = Object.entries(body)
  const checked = parseSettings(Object.fromEntries(members.filter(([, value]) => value !== null)))
  return {
    ...checked,
    ...Object.fromEntries(members.flatMap(([name, value]) => (value === null ? [[name, undefined]] : []))),
  }
}

function toJson(value: object): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue
}
