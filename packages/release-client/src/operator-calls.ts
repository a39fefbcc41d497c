import type { AuditEntry, GarbageReport, NewToken, Page, SessionView, TokenView } from './api.ts'
import { queryText } from './http.ts'
import type { HttpCaller } from './http.ts'
import { KeyCalls } from './key-calls.ts'

/** The calls of someone who runs the server: tokens, sessions, audit log, garbage. */
export class OperatorCalls extends KeyCalls {
  readonly #http: HttpCaller

  protected constructor(http: HttpCaller) {
    super(http)
    this.#http = http
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
