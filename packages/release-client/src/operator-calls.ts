import type { AuditEntry, GarbageReport, NewToken, Page, SessionView, TokenView } from './api.ts'
import type { AutoHaltView, HealthView } from './health-views.ts'
import { queryText } from './http.ts'
import type { HttpCaller } from './http.ts'
import { KeyCalls } from './key-calls.ts'

const segment = encodeURIComponent

const channelPath = (slug: string, channel: string): string =>
  `/v1/products/${segment(slug)}/channels/${segment(channel)}`

/** The calls of someone who runs the server: health of releases, tokens, sessions, audit log, garbage. */
export class OperatorCalls extends KeyCalls {
  readonly #http: HttpCaller

  protected constructor(http: HttpCaller) {
    super(http)
    this.#http = http
  }

  /** How far updates to the release on offer get, beside the release before it. */
  health(slug: string, channel: string): Promise<HealthView> {
    return this.#http.json({
      method: 'GET',
      path: `${channelPath(slug, channel)}/health`,
      what: `read the health of channel "${channel}"`,
    })
  }

  /** Has the release on offer halt by itself when fewer of its reported starts live than `percent`. */
  setAutoHalt(slug: string, channel: string, rule: { percent: number; sample?: number }): Promise<AutoHaltView> {
    return this.#http.json({
      method: 'PUT',
      path: `${channelPath(slug, channel)}/auto-halt`,
      what: `set the auto-halt of channel "${channel}"`,
      json: rule,
    })
  }

  /** Ends that rule. */
  async removeAutoHalt(slug: string, channel: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `${channelPath(slug, channel)}/auto-halt`,
      what: `end the auto-halt of channel "${channel}"`,
    })
  }

  /** Creates a token; the secret is shown this once. */
  createToken(token: NewToken): Promise<{ token: TokenView; secret: string }> {
    return this.#http.json({ method: 'POST', path: '/v1/tokens', what: `create token "${token.name}"`, json: token })
  }

  /** All tokens, without their secrets. */
  async listTokens(): Promise<readonly TokenView[]> {
    const page = await this.#http.json<Page<TokenView>>({ method: 'GET', path: '/v1/tokens', what: 'list tokens' })
    return page.items
  }

  /** Revokes a token at once. */
  async revokeToken(id: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `/v1/tokens/${encodeURIComponent(id)}`,
      what: `revoke token ${id}`,
    })
  }

  /** Open sessions of the dashboard, newest first. */
  async listSessions(): Promise<readonly SessionView[]> {
    const page = await this.#http.json<Page<SessionView>>({
      method: 'GET',
      path: '/v1/sessions',
      what: 'list sessions',
    })
    return page.items
  }

  /** Ends a session at once. */
  async endSession(id: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `/v1/sessions/${encodeURIComponent(id)}`,
      what: `end session ${id}`,
    })
  }

  /** A page of the audit log, oldest first from `after`. */
  async audit(
    query: { after?: number; limit?: number; actor?: string; action?: string } = {},
  ): Promise<readonly AuditEntry[]> {
    const page = await this.#http.json<Page<AuditEntry>>({
      method: 'GET',
      path: `/v1/audit${queryText(query)}`,
      what: 'read the audit log',
    })
    return page.items
  }

  /** Collects garbage; a dry run unless `dryRun` is false. */
  collectGarbage(options: { dryRun?: boolean } = {}): Promise<GarbageReport> {
    return this.#http.json({
      method: 'POST',
      path: '/v1/gc',
      what: 'collect garbage',
      json: { dry_run: options.dryRun ?? true },
    })
  }
}
