import { isRecord, KeyturnError, printable, utf8Decode } from '@keyturn/primitives'
import type { ErrorKind } from '@keyturn/primitives'
import { readBounded } from './read-bounded.ts'

/** Largest error answer that is read: a list of 10,000 missing blobs fits. For a larger one only the status counts. */
const MAX_PROBLEM_BYTES = 1024 * 1024

const KINDS: readonly string[] = [
  'no',
  'usage',
  'io',
  'unavailable',
  'input',
  'auth',
  'policy',
  'interrupted',
  'busy',
  'bug',
] satisfies ErrorKind[]

const KIND_OF_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: 'input',
  401: 'auth',
  403: 'auth',
  404: 'usage',
  405: 'usage',
  408: 'unavailable',
  409: 'policy',
  410: 'policy',
  412: 'busy',
  413: 'input',
  414: 'input',
  415: 'input',
  422: 'auth',
  423: 'busy',
  429: 'busy',
  431: 'input',
  500: 'bug',
  502: 'io',
  503: 'unavailable',
  504: 'unavailable',
  507: 'io',
}

function kindOf(body: Readonly<Record<string, unknown>>, status: number): ErrorKind {
  const named = body['kind']
  return typeof named === 'string' && KINDS.includes(named) ? (named as ErrorKind) : (KIND_OF_STATUS[status] ?? 'io')
}

/** An error answer of the server, with the code the server gave: `PUB_…`, `MAN_…`, `SRV_…`. */
export class ProblemError extends KeyturnError {
  override readonly name = 'ProblemError'
  /** HTTP status. */
  readonly status: number
  /** Names the request in the log of the server. */
  readonly requestId: string | undefined
  /** Parts of the answer: missing blobs, fields. */
  readonly errors: readonly string[]

  private constructor(
    { code, kind, status }: { readonly code: string; readonly kind: ErrorKind; readonly status: number },
    message: string,
    more: { hint?: string | undefined; requestId?: string | undefined; errors: readonly string[] },
  ) {
    super({ [code]: { kind, meaning: message, remedy: '' } }, code, message, {
      details: { status, requestId: more.requestId },
      hint: more.hint,
    })
    this.status = status
    this.requestId = more.requestId
    this.errors = more.errors
  }

  /**
   * Reads an error answer. A body that is not a problem document, such as a proxy's page, still makes an error by its
   * status.
   *
   * @param what - What was being done, for the message.
   */
  static async read(response: Response, what: string): Promise<ProblemError> {
    const body = await readBody(response)
    const text = (name: string): string | undefined => {
      const value = body[name]
      return typeof value === 'string' ? printable(value, 500) : undefined
    }
    const named = text('code')
    const code = named !== undefined && /^[A-Z][A-Z0-9_]{2,63}$/.test(named) ? named : 'SRV_STORAGE'
    const listed = Array.isArray(body['errors']) ? body['errors'].filter((item) => typeof item === 'string') : []
    const detail = text('detail') ?? text('title') ?? `the server answered ${response.status}`
    const { status } = response
    return new ProblemError({ code, kind: kindOf(body, status), status }, `Cannot ${what}: ${detail}`, {
      hint: text('hint'),
      requestId: text('request_id'),
      errors: listed,
    })
  }
}

async function readBody(response: Response): Promise<Record<string, unknown>> {
  try {
    const body: unknown = JSON.parse(utf8Decode(await readBounded(response, MAX_PROBLEM_BYTES, 'read an error answer')))
    return isRecord(body) ? body : {}
  } catch {
    return {}
  }
}
